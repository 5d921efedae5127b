"""expand, broadcast_to and repeat against PyTorch, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError
from tests.devices import EVERYWHERE
from tests.ops.arrays import FEW_ROUNDINGS, arrays, shapes


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_expand_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    wide = data.draw(shapes())
    x = data.draw(
        arrays(tuple(1 if data.draw(st.booleans()) else n for n in wide[data.draw(st.integers(0, len(wide))) :]))
    )
    new = len(wide) - x.ndim
    sizes = [-1 if i >= new and x.shape[i - new] == n and data.draw(st.booleans()) else n for i, n in enumerate(wide)]
    # Up to 5^4 copies of an element are added.
    bound = 30 * FEW_ROUNDINGS[x.dtype]
    parity.compare(lambda x: x.expand(sizes), lambda x: x.expand(sizes), {"x": x}, where, bound, least_scale=1)
    parity.compare(
        lambda x: gpunn.broadcast_to(x, wide), lambda x: parity.torch.broadcast_to(x, wide), {"x": x}, where, bound,
        least_scale=1,
    )  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_repeat_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(most=4))))
    new = data.draw(st.integers(0, 1))
    counts = [data.draw(st.integers(0 if x.size else 1, 3)) for _ in range(x.ndim + new)]
    bound = 30 * FEW_ROUNDINGS[x.dtype]  # up to 3^5 copies
    parity.compare(lambda x: x.repeat(counts), lambda x: x.repeat(counts), {"x": x}, where, bound, least_scale=1)


def test_class_token() -> None:
    token = gpunn.tensor(np.arange(4.0).reshape(1, 1, 4), requires_grad=True)
    wide = token.expand(3, -1, -1)
    assert wide.shape == (3, 1, 4)
    wide.backward(gpunn.tensor(np.arange(12.0).reshape(3, 1, 4)))
    assert token.grad.tolist() == [[[12.0, 15.0, 18.0, 21.0]]]
    assert token.expand_as(wide).shape == wide.shape


def test_the_same_shape_does_not_hand_over_the_callers_gradient() -> None:
    x, dy = gpunn.ones(2, requires_grad=True), gpunn.ones(2)
    x.expand(2).backward(dy)
    x.grad.array[...] = 7
    y = gpunn.ones(2, requires_grad=True)
    y.expand(1, 2).backward(dy.reshape(1, 2))
    y.grad.array[...] = 7
    assert dy.tolist() == [1.0, 1.0]


def test_gradcheck() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).random((2, 1, 3)), requires_grad=True)
    weight = gpunn.tensor(np.random.Generator(np.random.Philox(1)).random((2, 2, 4, 3)))
    assert gradcheck(lambda x: x.expand(2, 2, 4, 3) * weight, x)
    assert gradcheck(lambda x: x.repeat(2, 1, 4, 1) * weight, x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.expand(4, 3), r"expand: expected a shape that \(2, 3\) broadcasts to; got \(4, 3\)"),
        (lambda x: x.expand(3), "broadcasts to"),
        (lambda x: x.expand(-1, 2, 3), "broadcasts to"),
        (lambda x: x.broadcast_to((2, 2)), "broadcast_to: expected"),
        (lambda x: x.repeat(2), "repeat: expected a count for each axis"),
        (lambda x: x.repeat(2, -1), "a count for each axis"),
    ],
)
def test_refuses(call, message) -> None:
    with pytest.raises(ShapeError, match=message):
        call(gpunn.zeros(2, 3))
