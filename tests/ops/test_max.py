"""Maxima and minima against PyTorch: values, places, and who gets the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.arrays import arrays, check, shapes
from tests.devices import EVERYWHERE
from tests.ops.arrays import ties

NOT_EMPTY = shapes(1).filter(lambda s: 0 not in s)


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.sampled_from(["max", "min"]), arrays(NOT_EMPTY), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_along_an_axis(where: str, name: str, x: np.ndarray, keepdim: bool, data: st.DataObject) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
    x = ties(x)
    check(lambda x: getattr(x, name)(dim, keepdim).values, {"x": x}, 0, where=where)
    values, indices = getattr(gpunn.tensor(x, device=where), name)(dim, keepdim)
    np.testing.assert_array_equal(indices.numpy(), (x.argmax if name == "max" else x.argmin)(dim, keepdims=keepdim))
    assert indices.dtype == np.int64
    assert not values.requires_grad


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.sampled_from(["amax", "amin"]), arrays(NOT_EMPTY), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_over_axes(where: str, name: str, x: np.ndarray, keepdim: bool, data: st.DataObject) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1) | st.just(tuple(range(x.ndim))))
    check(lambda x: getattr(x, name)(dim, keepdim), {"x": ties(x)}, 1e-7, where=where)  # a share of 1/3 is rounded once


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.sampled_from(["max", "min"]), arrays(NOT_EMPTY))
@settings(max_examples=40, deadline=None)
def test_over_everything(where: str, name: str, x: np.ndarray) -> None:
    parity = pytest.importorskip("tests.parity")
    check(lambda x: getattr(x, name)(), {"x": ties(x)}, 1e-7, where=where)
    for index in ("argmax", "argmin"):
        mine, other = gpunn.tensor(ties(x), device=where), parity.torch.tensor(ties(x))
        assert getattr(mine, index)().item() == getattr(ties(x), index)()
        assert getattr(mine, index)(keepdim=True).shape == tuple(getattr(other, index)(keepdim=True).shape)


def test_nan_wins() -> None:
    parity = pytest.importorskip("tests.parity")
    values = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 2.0, 1.0, 2.0]])
    for f in (lambda t: t.max(1).values, lambda t: t.min(1).values, lambda t: t.max(), lambda t: t.amax(0)):
        mine, other = gpunn.tensor(values, requires_grad=True), parity.torch.tensor(values, requires_grad=True)
        y, t = f(mine), f(other)
        np.testing.assert_array_equal(y.detach().numpy(), t.detach().numpy())
        y.sum().backward()
        t.sum().backward()
        np.testing.assert_array_equal(mine.grad.numpy(), other.grad.numpy())
    assert gpunn.tensor(values).argmax(1).tolist() == [1, 0]
    x, y = gpunn.tensor([np.nan, 1.0], requires_grad=True), gpunn.tensor([1.0, np.nan], requires_grad=True)
    z = gpunn.maximum(x, y)
    assert np.isnan(z.detach().numpy()).all()


def test_forms() -> None:
    a, b = gpunn.tensor([1.0, 5.0]), gpunn.tensor([3.0, 2.0])
    assert gpunn.max(a, b).tolist() == a.maximum(b).tolist() == [3.0, 5.0]
    assert a.min(b).tolist() == [1.0, 2.0]
    answer = gpunn.max(a, 0)
    assert (answer.values.item(), answer.indices.item()) == (5.0, 1)
    assert (gpunn.tensor(3.0).max(0).indices.item(), gpunn.tensor([4, 7]).max().item()) == (0, 7)
    assert gpunn.zeros(2, 0).amax(0).shape == (0,)
    assert gpunn.tensor([[1, 9, 2]]).argmax().dtype == np.int64


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gpunn.zeros(2, 0).max(1), ShapeError, r"max: expected an axis with elements; got shape \(2, 0\)"),
        (lambda: gpunn.zeros(0).min(), ShapeError, "min: expected an axis with elements"),
        (lambda: gpunn.zeros(0).argmax(), ShapeError, "argmax: expected an axis with elements"),
        (lambda: gpunn.zeros(0, 2).amin(0), ShapeError, "amin: expected an axis with elements"),
        (lambda: gpunn.zeros(2).max(1), UsageError, "max: dim: expected axes"),
        (lambda: gpunn.zeros(2).max(keepdim=True), UsageError, "keepdim goes with dim"),
        (lambda: (gpunn.zeros(2) > 0).argmax(), DTypeError, "argmax: expected numbers; got bool"),
    ],
)
def test_refuses(call: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
