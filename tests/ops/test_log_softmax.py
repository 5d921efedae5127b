"""log_softmax against PyTorch, extreme and infinite scores, and what it refuses."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.log_softmax import log_softmax
from tests.ops.test_softmax import INFINITE, compare_with_torch, configurations


@given(configurations())
@settings(max_examples=200, deadline=None)
def test_matches_torch(how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    compare_with_torch(log_softmax, parity.torch.log_softmax, how)


@given(configurations())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    compare_with_torch(log_softmax, parity.torch.log_softmax, how, kernels)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 2), (2, 3, 1, 2)])
def test_gradcheck(shape: tuple[int, ...]) -> None:
    x = gpunn.randn(*shape, dtype=np.float64, requires_grad=True)
    for dim in range(len(shape)):
        assert gradcheck(lambda a, dim=dim: log_softmax(a, dim), x)


def test_extreme_scores_are_exact() -> None:
    x = gpunn.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    y = log_softmax(x, 1)
    assert y.tolist() == [[0, -2e4, -1e4]]
    y.backward(gpunn.tensor([[0.0, 1.0, 0.0]]))
    assert x.grad.tolist() == [[-1, 1, 0]]


def test_infinite_scores_and_nan() -> None:
    """As PyTorch."""
    y = log_softmax(gpunn.tensor(INFINITE), 1).numpy()
    np.testing.assert_array_equal(y[1:], np.full((3, 3), np.nan))
    np.testing.assert_allclose(y[0], [-np.inf, -np.log(2), -np.log(2)], rtol=1e-7)


def test_large() -> None:
    """Several blocks, along the last axis and along another: as in float64 in one go."""
    x = np.random.Generator(np.random.Philox(4)).standard_normal((5, 4001, 9)).astype(np.float32)
    for axis in range(3):
        wide = x.astype(np.float64)
        expected = wide - np.log(np.exp(wide).sum(axis=axis, keepdims=True))
        leaf = gpunn.tensor(x, requires_grad=True)
        y = log_softmax(leaf, axis)
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=2e-6)  # numbers up to 12: two roundings
        y.sum().backward()
        expected = 1 - x.shape[axis] * np.exp(expected)
        np.testing.assert_allclose(leaf.grad.numpy(), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_is_public() -> None:
    assert inspect.unwrap(gpunn.log_softmax) is log_softmax


def test_refuses() -> None:
    with pytest.raises(UsageError, match=r"^log_softmax: dim: expected the axis"):
        log_softmax(gpunn.ones(2, 3))
    with pytest.raises(UsageError, match=r"log_softmax: dim: axis 2 does not exist"):
        log_softmax(gpunn.ones(2, 3), 2)
    with pytest.raises(DTypeError, match="log_softmax: expected a floating dtype"):
        log_softmax(gpunn.arange(3), 0)
