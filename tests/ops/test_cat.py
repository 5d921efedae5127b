"""cat and stack against PyTorch, on images, of nothing, and what they refuse."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes


@st.composite
def parts(draw: st.DrawFn) -> tuple:
    shape = list(draw(shapes(least=1)))
    at = axis(draw, len(shape))
    made: dict[str, np.ndarray] = {}
    for i in range(draw(st.integers(1, 4))):
        shape[at] = draw(st.integers(0, 4))
        made[f"x{i}"] = draw(arrays(tuple(shape))).astype(np.float32 if i == 0 else made["x0"].dtype)
    return made, at


@pytest.mark.parametrize("where", EVERYWHERE)
@given(parts())
@settings(max_examples=200, deadline=None)
def test_cat_matches_torch(where: str, given_parts: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    made, at = given_parts
    if all(a.shape == (0,) for a in made.values()):
        at = 0
    parity.compare(
        lambda **t: gpunn.cat(list(t.values()), at), lambda **t: parity.torch.cat(list(t.values()), at), made, where, 0
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_stack_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    shape = data.draw(shapes(most=4))
    at = axis(data.draw, len(shape) + 1)
    first = data.draw(arrays(shape))
    made = {"x0": first, "x1": data.draw(arrays(shape)).astype(first.dtype)}
    parity.compare(
        lambda **t: gpunn.stack(tuple(t.values()), at), lambda **t: parity.torch.stack(tuple(t.values()), at), made,
        where, 0,
    )  # fmt: skip


def test_channels_of_images_lie_channels_last() -> None:
    """DenseNet's op: the result is in memory order at once, and gradients are contiguous parts."""
    a, b = gpunn.randn(2, 3, 4, 5, requires_grad=True), gpunn.randn(2, 6, 4, 5, requires_grad=True)
    y = gpunn.cat([a, b], 1)
    assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    y.sum().backward()
    assert a.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert b.grad.shape == b.shape


def test_a_tensor_joined_with_itself() -> None:
    x = gpunn.tensor(np.array([1.0, 2.0]), requires_grad=True)
    gpunn.cat([x, x]).backward(gpunn.tensor(np.array([1.0, 2.0, 30.0, 40.0])))
    assert x.grad.tolist() == [31.0, 42.0]


def test_empty_vectors_are_left_out() -> None:
    assert gpunn.cat([gpunn.zeros(0), gpunn.ones(2, 3)]).shape == (2, 3)
    assert gpunn.cat([gpunn.zeros(0), gpunn.zeros(0)]).shape == (0,)


def test_names_and_other_dtypes() -> None:
    assert gpunn.concat is gpunn.cat
    assert gpunn.concatenate is gpunn.cat
    assert gpunn.cat([gpunn.arange(2), gpunn.arange(1)]).tolist() == [0, 1, 0]
    assert gpunn.stack([gpunn.arange(2) > 0]).tolist() == [[False, True]]


def test_with_kernels(kernels: str) -> None:
    parity = pytest.importorskip("tests.parity")
    made = {n: np.ones((2, c, 3, 2), np.float32) * c for n, c in (("a", 1), ("b", 3))}
    parity.compare(lambda a, b: gpunn.cat([a, b], 1), lambda a, b: parity.torch.cat([a, b], 1), made, kernels, 0)


def test_gradcheck() -> None:
    x, y = (
        gpunn.tensor(np.random.Generator(np.random.Philox(i)).random((2, 1 + i, 3)), requires_grad=True) for i in (0, 1)
    )
    assert gradcheck(lambda x, y: gpunn.cat([x * y, y], 1) ** 2, [x[:, :1].detach().requires_grad_(), y])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gpunn.cat([]), UsageError, "cat: expected at least one tensor"),
        (lambda: gpunn.cat([gpunn.tensor(1.0)]), ShapeError, r"Use stack\(\)"),
        (lambda: gpunn.cat([gpunn.ones(2, 3), gpunn.ones(2, 4)]), ShapeError, r"\(2, 3\) and \(2, 4\) \(tensor 1\)"),
        (lambda: gpunn.cat([gpunn.ones(2, 3), gpunn.ones(2)]), ShapeError, "all axes but 0"),
        (lambda: gpunn.cat([gpunn.ones(2)], 1), UsageError, "cat: dim: expected axes"),
        (lambda: gpunn.cat([gpunn.arange(2), gpunn.ones(2, dtype="uint64")]), DTypeError, "int64 and uint64"),
        (lambda: gpunn.cat([gpunn.ones(2), cast(Any, [1.0, 1.0])]), DTypeError, "got list"),
        (lambda: gpunn.stack([gpunn.ones(2), gpunn.ones(3)]), ShapeError, r"stack: expected one shape; got \(2,\) and"),
        (lambda: gpunn.stack([]), UsageError, "stack: expected at least one"),
        (lambda: gpunn.stack([gpunn.ones(2)], 2), UsageError, "expected -2 to 1"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match="cat"):
        gpunn.cat([gpunn.ones(2), gpunn.ones(2, device=kernels)])
