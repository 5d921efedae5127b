"""Norms against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.norm import norm_backward
from tests.arrays import arrays, check, shapes, tolerance
from tests.devices import EVERYWHERE, call


@pytest.mark.parametrize("where", EVERYWHERE)
@given(
    st.sampled_from([0, 1, 2, 3, 1.5, math.inf, -math.inf]),
    arrays(shapes(1, 4).filter(lambda s: 0 not in s)),
    st.booleans(),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_matches_torch(where: str, p: float, x: np.ndarray, keepdim: bool, data: st.DataObject) -> None:
    dim = data.draw(st.integers(-x.ndim, x.ndim - 1) | st.just(tuple(range(x.ndim))))
    check(lambda x: x.norm(p, dim, keepdim), {"x": x}, tolerance(x.dtype, 100), where=where)


def test_known_answers() -> None:
    x = gpunn.tensor([[3.0, -4.0], [0.0, 0.0]], requires_grad=True)
    assert x.norm().item() == 5.0
    assert gpunn.norm(x, 1).item() == 7.0
    assert gpunn.norm(x, 0).item() == 2.0
    y = x.norm(dim=1)
    assert y.tolist() == [5.0, 0.0]
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0.6, -0.8], [0.0, 0.0]], rtol=1e-7)
    assert gpunn.zeros(0).norm().item() == 0


def test_gradcheck() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(1)).standard_normal((2, 3, 2, 2)), requires_grad=True)
    for p in (1, 2, 2.5, math.inf):
        assert gradcheck(lambda t, p=p: gpunn.norm(t, p, (1, 2)), x)


def test_refuses() -> None:
    with pytest.raises(UsageError, match="expected a number or 'fro'"):
        gpunn.ones(2).norm("nuc")
    with pytest.raises(DTypeError, match="norm: expected a floating dtype"):
        gpunn.arange(3).norm()
    with pytest.raises(UsageError, match="no largest or smallest"):
        gpunn.zeros(0).norm(math.inf)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_gradient_over_a_small_norm_may_overflow(where: str) -> None:
    x, y = np.array([[1.2e-37, -1.6e-37]], np.float32), np.array([[2e-37]], np.float32)
    dx = call(norm_backward, where, np.array([[100.0]], np.float32), x, y, (1,), 2.0)
    np.testing.assert_allclose(dx, [[60.0, -80.0]], rtol=1e-6)
