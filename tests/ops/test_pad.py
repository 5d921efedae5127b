"""pad in all modes against PyTorch, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
import gpunn.nn.functional as F
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import FEW_ROUNDINGS, arrays, shapes


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_constant_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(lengths=st.integers(0, 4)))))
    amounts: list[int] = []
    for n in x.shape[::-1][: data.draw(st.integers(0, x.ndim))]:
        before = data.draw(st.integers(-n, 3))
        amounts += [before, data.draw(st.integers(-n - min(before, 0), 3))]
    value = data.draw(st.sampled_from([None, 0, -2.5]))
    theirs = parity.torch.nn.functional.pad
    parity.compare(
        lambda x: F.pad(x, amounts, value=value), lambda x: theirs(x, amounts, value=value), {"x": x}, where, 0
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_other_modes_match_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    mode = data.draw(st.sampled_from(["reflect", "replicate", "circular"]))
    count, lead = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    batch = data.draw(st.lists(st.integers(1, 3), min_size=lead, max_size=lead))
    x = data.draw(arrays((*batch, *data.draw(st.lists(st.integers(1, 5), min_size=count, max_size=count)))))
    amounts: list[int] = []
    for n in x.shape[: -count - 1 : -1]:
        most = {"reflect": n - 1, "replicate": 4, "circular": n}[mode]
        amounts += [data.draw(st.integers(0, most)), data.draw(st.integers(0, most))]
    # Up to 9^3 copies of a corner are added.
    bound = 30 * FEW_ROUNDINGS[x.dtype]
    theirs = parity.torch.nn.functional.pad
    parity.compare(lambda x: F.pad(x, amounts, mode), lambda x: theirs(x, amounts, mode), {"x": x}, where, bound, (), 1)


def _as_torch(x: np.ndarray, amounts: tuple[int, ...], mode: str, where: str) -> None:
    """Like PyTorch in values and gradients, or both refuse."""
    parity = pytest.importorskip("tests.parity")
    theirs = parity.torch.nn.functional.pad
    if mode == "circular":
        for n, before, after in zip(x.shape[::-1], amounts[::2], amounts[1::2], strict=False):
            left = n + min(before, 0) + min(after, 0)
            if max(before, after) > left:
                # PyTorch refuses some of these, and returns memory that it never wrote to for the others.
                with pytest.raises(ShapeError, match="pad: "):
                    F.pad(gpunn.tensor(x, device=where), amounts, mode)
                return
    try:
        theirs(parity.torch.tensor(x), amounts, mode)
    except RuntimeError:
        with pytest.raises(ShapeError, match="pad: "):
            F.pad(gpunn.tensor(x, device=where), amounts, mode)
        return
    # Sums of at most a few dozen copies.
    bound = 30 * FEW_ROUNDINGS[x.dtype]
    parity.compare(lambda x: F.pad(x, amounts, mode), lambda x: theirs(x, amounts, mode), {"x": x}, where, bound, (), 1)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_every_pair_of_sides_is_as_in_torch(where: str, mode: str, length: int) -> None:
    x = np.random.Generator(np.random.Philox(length)).standard_normal((2, 1, length)).astype(np.float32)
    for before in range(-length - 2, length + 3):
        for after in range(-length - 2, length + 3):
            _as_torch(x, (before, after), mode, where)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_cropping_images_is_as_in_torch(where: str, mode: str) -> None:
    x = np.random.Generator(np.random.Philox(3)).standard_normal((2, 3, 5, 4)).astype(np.float32)
    columns = itertools.product((-5, -4, -1, 0, 3), repeat=2)
    rows = ((0, 0), (-1, 2), (1, -5), (-5, 0), (-2, -4))
    for amounts in itertools.chain.from_iterable(((*pair, *other) for other in rows) for pair in columns):
        _as_torch(x, amounts, mode, where)


def test_known_answers() -> None:
    x = gpunn.tensor([[1.0, 2.0, 3.0]])
    assert F.pad(x, (1, 1)).tolist() == [[0.0, 1.0, 2.0, 3.0, 0.0]]
    assert F.pad(x, (1, -1), value=9).tolist() == [[9.0, 1.0, 2.0]]
    assert F.pad(x, (1, 0), value=float("-inf")).tolist() == [[-np.inf, 1.0, 2.0, 3.0]]
    assert F.pad(x, (2, 2), "reflect").tolist() == [[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]]
    assert F.pad(x, (2, 1), "replicate").tolist() == [[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]]
    assert F.pad(x, (2, 1), "circular").tolist() == [[2.0, 3.0, 1.0, 2.0, 3.0, 1.0]]
    assert F.pad(x, (-1, 1), "replicate").tolist() == [[2.0, 3.0, 3.0]]
    assert F.pad(x, (-1, 1), "circular").tolist() == [[2.0, 3.0, 2.0]]
    assert F.pad(x, (2, -1), "circular").tolist() == [[1.0, 2.0, 1.0, 2.0]]
    assert F.pad(x, (2, -4), "reflect").tolist() == [[3.0]]
    assert F.pad(gpunn.arange(2), (0, 1), value=7).tolist() == [0, 1, 7]


def test_images_are_padded_in_memory_order() -> None:
    for mode in ("constant", "reflect"):
        y = F.pad(gpunn.randn(2, 3, 4, 5), (1, 1, 1, 1), mode)
        assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_empty_batch() -> None:
    for mode in ("constant", "reflect", "replicate", "circular"):
        x = gpunn.zeros(0, 2, 3, 3, requires_grad=True)
        F.pad(x, (1, 1, 1, 1), mode).sum().backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_gradcheck(mode: str) -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).random((1, 2, 3, 4)), requires_grad=True)
    assert gradcheck(lambda x: F.pad(x, (1, 2, 2, 0), mode) ** 2, x)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (((1,),), UsageError, r"\(before, after\) for at most 2 axes"),
        (((1, 1, 1, 1, 1, 1),), UsageError, "at most 2 axes"),
        (((1, 1), "mirror"), UsageError, "got 'mirror'"),
        (((1, 1), "reflect", 1.0), UsageError, "takes no value; got 1.0"),
        (((4, 0), "reflect"), ShapeError, "cannot pad axis 1, of length 4, by 4 and 0"),
        (((1, 1, 1, 1), "replicate"), ShapeError, "with one or two more"),
        (((-3, -2),), ShapeError, "cannot cut"),
    ],
)
def test_refuses(args, error, message) -> None:
    with pytest.raises(error, match=message):
        F.pad(gpunn.zeros(3, 4), *args)
