"""where and masked_fill against PyTorch, numbers, NaN, and what they refuse."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, GraphError, ShapeError
from tests.devices import EVERYWHERE
from tests.ops.arrays import FEW_ROUNDINGS, arrays, shapes


@st.composite
def three(draw: st.DrawFn) -> tuple:
    """A condition and two operands that broadcast together."""
    wide = draw(shapes(lengths=st.integers(0, 3)))

    def part() -> tuple[int, ...]:
        kept = wide[draw(st.integers(0, len(wide))) :]
        return tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in kept)

    a = draw(arrays(part()))
    b = draw(arrays(part())).astype(a.dtype)
    return np.asarray(draw(arrays(part())) > 0), a, b


@pytest.mark.parametrize("where", EVERYWHERE)
@given(three())
@settings(max_examples=200, deadline=None)
def test_matches_torch(where: str, operands: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    condition, a, b = operands
    # Up to 3^5 copies of an element are added.
    bound = 30 * FEW_ROUNDINGS[a.dtype]
    given_arrays = {"condition": condition, "a": a, "b": b}
    torch = parity.torch
    parity.compare(gpunn.where, lambda condition, a, b: torch.where(condition, a, b), given_arrays, where, bound, (), 1)
    parity.compare(
        lambda condition, a: gpunn.masked_fill(a, condition, -1.5),
        lambda condition, a: torch.masked_fill(a, condition, -1.5),
        {"condition": condition, "a": a}, where, bound, (), 1,
    )  # fmt: skip


@pytest.mark.parametrize(("a", "b"), [(1, 2), (1.0, 2), (True, False), (np.nan, 0)])
def test_two_numbers(a: object, b: object) -> None:
    torch = pytest.importorskip("torch")
    condition = np.array([True, False])
    y, expected = gpunn.where(gpunn.tensor(condition), a, b), torch.where(torch.tensor(condition), a, b).numpy()
    np.testing.assert_array_equal(y.numpy(), expected)
    assert y.dtype == expected.dtype


def test_tensor_and_number() -> None:
    x = gpunn.tensor([-1.0, 2.0], requires_grad=True)
    assert gpunn.where(x > 0, x, 0).tolist() == x.where(x > 0, 0).tolist() == [0.0, 2.0]
    assert gpunn.where(x > 0, 0, x).dtype == np.float32
    assert [v.tolist() for v in gpunn.where(x.detach() > 0)] == [[1]]


def test_what_was_not_chosen_gets_exactly_nothing() -> None:
    """A safe square root: NaN and infinity on the other side stay out of values and gradients."""
    x = gpunn.tensor([-1.0, 4.0], requires_grad=True)
    y = gpunn.where(x > 0, x, np.inf)
    y.backward(gpunn.tensor([np.nan, 2.0]))
    assert x.grad.tolist() == [0.0, 2.0]


def test_masked_fill_with_a_tensor() -> None:
    x, value = gpunn.ones(3, requires_grad=True), gpunn.tensor(5.0, requires_grad=True)
    x.masked_fill(gpunn.tensor([True, False, True]), value).sum().backward()
    assert (x.grad.tolist(), value.grad.item()) == ([0.0, 1.0, 0.0], 2.0)


def test_a_condition_that_changes_is_noticed() -> None:
    x, condition = gpunn.ones(2, requires_grad=True), gpunn.tensor([True, False])
    y = gpunn.where(condition, x, 0).sum()
    condition.fill_(True)
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_gradcheck() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    a, b = (gpunn.tensor(rng.random(s), requires_grad=True) for s in ((2, 3, 2, 2), (3, 1, 2)))
    condition = gpunn.tensor(rng.random((3, 2, 2)) > 0.5)
    assert gradcheck(lambda a, b: gpunn.where(condition, a * b, b), [a, b])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: gpunn.where(x, x, 0), DTypeError, "bools as the condition; got float32"),
        (lambda x: gpunn.where(cast(Any, True), x, 0), DTypeError, "got bool"),
        (lambda x: gpunn.where(x > 0, x, "a"), DTypeError, "tensors or numbers; got str"),
        (lambda x: gpunn.where(x > 0, x, None), DTypeError, "got NoneType"),
        (lambda x: gpunn.where(x > 0, gpunn.zeros(2), 0), ShapeError, r"\(3,\), \(2,\) do not broadcast"),
        (lambda x: x.long().masked_fill(x > 0, float("nan")), DTypeError, "nan does not fit into int64"),
        (lambda x: x.to("uint8").masked_fill(x > 0, 300), DTypeError, "300 does not fit into uint8"),
        (lambda x: x.masked_fill(x > 0, 1e300), DTypeError, r"1e\+300 does not fit into float32"),
        (lambda x: x.masked_fill(x > 0, "a"), DTypeError, "masked_fill: expected a number; got str"),
        (
            lambda x: x.masked_fill(x > 0, x),
            ShapeError,
            r"masked_fill: expected a value without axes; got shape \(3,\)",
        ),
        (lambda x: x.masked_fill(x, 1), DTypeError, "masked_fill: expected a Tensor of bools"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(gpunn.zeros(3))


def test_refuses_two_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match="where"):
        gpunn.where(gpunn.zeros(3, device=kernels) > 0, gpunn.zeros(3), 0)
