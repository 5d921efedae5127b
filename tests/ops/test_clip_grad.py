"""Norms of many arrays and limiting by them, in all bodies: against NumPy on one long vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.ops.clip_grad import clip_values, scale_arrays, scale_by_norm, total_norm
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, draw, twin


def _arrays(sizes: list[int], dtype: Any, seed: int, shift: int = 0) -> list[Any]:
    return draw(np.random.Generator(np.random.Philox(seed)), sizes, dtype, shift)


@given(SIZES, DTYPES, st.sampled_from([1.0, 2.0, 2.5, 3.0, math.inf]), st.integers(0, 2**16), st.integers(0, 1))
@settings(max_examples=30, deadline=None)
def test_the_norm_is_that_of_one_long_vector(
    kernels: str, sizes: list[int], dtype: Any, p: float, seed: int, shift: int
) -> None:
    arrays = _arrays(sizes, dtype, seed, shift)
    long = np.abs(np.concatenate(arrays).astype(np.float64))
    expected = long.max(initial=0) if p == math.inf else (long**p).sum() ** (1 / p)
    for where in ("cpu", kernels):
        norm = call(total_norm, where, arrays, p)
        assert norm.shape == ()
        assert norm.dtype == dtype
        # Powers are good to some ten roundings in float32; sums of blocks add a few more.
        assert norm == pytest.approx(expected, rel=3e-6 if dtype == np.float32 else 1e-13), where


@pytest.mark.parametrize("p", [2.0, 3.0, math.inf])
def test_a_merge_of_more_chunks_than_threads(kernels: str, p: float) -> None:
    """49 chunks by 32 threads; with all 256 it would take a million elements."""
    arrays = _arrays([200_000], np.float64, 2)
    arrays[0][-1] = 100.0  # the largest, in the last chunk
    norm = call(total_norm, kernels, arrays, p, kernel={"merge_threads": 32})
    # Sums of 200,000 numbers in another order.
    assert norm == pytest.approx(total_norm.plain(np, arrays, p), rel=1e-12)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("norm", "factor"), [(10.0, 0.25), (2.0, 1.0), (0.0, 1.0)])
def test_scaling(where: str, norm: float, factor: float) -> None:
    arrays = _arrays([5, 5000], np.float64, 0)
    got = twin({"arrays": arrays})["arrays"]
    call(scale_by_norm, where, got, np.array(norm), 2.5)
    for a, b in zip(got, arrays, strict=True):
        # The 1e-6 that is added to the norm.
        np.testing.assert_allclose(a, b * factor, rtol=2e-7 if factor < 1 else 0)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("p", [2.0, 3.0, math.inf])
def test_nan_reaches_everything(where: str, p: float) -> None:
    arrays = [np.array([1, np.nan, 2]), np.ones(5)]
    norm = call(total_norm, where, arrays, p)
    assert np.isnan(norm)
    call(scale_by_norm, where, arrays, norm, 1.0)
    assert all(np.isnan(a).all() for a in arrays)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_infinite_gradient_leaves_zeros_and_nan(where: str) -> None:
    """As in PyTorch: 1 / infinity times the others is 0, times itself NaN."""
    x = np.array([np.inf, 1.0])
    call(scale_by_norm, where, [x], call(total_norm, where, [x], 2.0), 1.0)
    assert np.isnan(x[0])
    assert x[1] == 0


@pytest.mark.parametrize("where", EVERYWHERE)
def test_values_are_limited(where: str) -> None:
    x = np.array([-np.inf, -2, -0.5, -0.0, 0.5, 2, np.inf, np.nan], np.float32)
    call(clip_values, where, [x], 0.5)
    np.testing.assert_array_equal(x, np.array([-0.5, -0.5, -0.5, -0.0, 0.5, 0.5, 0.5, np.nan], np.float32))
    assert np.signbit(x[3])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_arrays_are_scaled(where: str) -> None:
    """By a power of 2 exactly; what overflows and what is not a number stay so without a warning."""
    arrays = [np.array([1.5, -np.inf, np.nan, -0.0, 3e38], np.float32), np.arange(5000, dtype=np.float32)]
    call(scale_arrays, where, arrays, 4.0)
    np.testing.assert_array_equal(arrays[0], np.array([6.0, -np.inf, np.nan, -0.0, np.inf], np.float32))
    assert np.signbit(arrays[0][3])
    np.testing.assert_array_equal(arrays[1], np.arange(5000) * 4)
