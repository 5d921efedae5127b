"""adaptive_max_pool2d against PyTorch, ties, NaN, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d

CONFIGURATIONS = (
    st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
    st.one_of(st.integers(1, 5), st.tuples(st.one_of(st.none(), st.integers(1, 11)), st.integers(1, 11))),
    st.sampled_from([np.float32, np.float64]),
)


def _check_against_torch(where: str, shape: tuple[int, ...], size: Any, dtype: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    F = parity.torch.nn.functional
    x = np.random.Generator(np.random.Philox(shape[1])).integers(-3, 4, shape).astype(dtype)  # ties are common
    # Gradients: up to nine of order one meet in one input, in another order.
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    parity.compare(
        lambda x: adaptive_max_pool2d(x, size),
        lambda x: F.adaptive_max_pool2d(x, size),
        {"x": x},
        where,
        tolerance,
        least_scale=1,
    )
    if len(x):
        _, index = adaptive_max_pool2d(gpunn.tensor(x), size, return_indices=True)
        expected = F.adaptive_max_pool2d(parity.torch.tensor(x), size, return_indices=True)[1]
        np.testing.assert_array_equal(index.numpy(), expected.numpy())


@given(*CONFIGURATIONS)
@settings(max_examples=120, deadline=None)
def test_matches_torch(shape: tuple[int, ...], size: Any, dtype: Any) -> None:
    _check_against_torch("cpu", shape, size, dtype)


@given(*CONFIGURATIONS)
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, shape: tuple[int, ...], size: Any, dtype: Any) -> None:
    _check_against_torch(kernels, shape, size, dtype)


@pytest.mark.parametrize(("shape", "size"), [((2, 3, 16, 17), 1), ((1, 36, 13, 8), 1), ((2, 132, 20, 9), (3, 1))])
def test_windows_shared_by_a_block_match_torch(kernels: str, shape: tuple[int, ...], size: Any) -> None:
    _check_against_torch(kernels, shape, size, np.float32)


@pytest.mark.parametrize("size", [1, 2])
def test_nan_wins_and_minus_infinity_can(size: int) -> None:
    x = np.zeros((1, 2, 3, 3), np.float32)
    x[0, 0, 1, 1] = np.nan
    x[0, 1] = -np.inf
    t = gpunn.tensor(x, requires_grad=True)
    y = adaptive_max_pool2d(t, size)
    assert np.isnan(y.detach().numpy()[0, 0]).all()
    assert (y.detach().numpy()[0, 1] == -np.inf).all()
    y.sum().backward()
    assert t.grad.numpy()[0, 0, 1, 1] == size**2
    assert t.grad.numpy()[0, 1, 0, 0] == 1


def test_a_window_of_more_than_256_elements() -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((2, 3, 20, 20)).astype(np.float32)
    np.testing.assert_array_equal(adaptive_max_pool2d(gpunn.tensor(x), 1).numpy(), x.max(axis=(2, 3), keepdims=True))


@pytest.mark.parametrize("size", [1, (4, 3)])
def test_gradcheck(size: Any) -> None:
    x = np.random.Generator(np.random.Philox(1)).permutation(2 * 2 * 6 * 5).reshape(2, 2, 6, 5).astype(np.float64)
    assert gradcheck(lambda t: adaptive_max_pool2d(t, size), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "size", "error", "message"),
    [
        (gpunn.zeros(4, 4), 1, ShapeError, r"expected x of shape \(N, C, H, W\)"),
        (gpunn.zeros(1, 1, 4, 4), -1, UsageError, "output_size: expected a positive integer"),
        (gpunn.zeros(1, 1, 4, 4, dtype=np.int64), 1, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adaptive_max_pool2d(x, size)
