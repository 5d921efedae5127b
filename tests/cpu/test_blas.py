"""Sums of two vectors by NumPy's BLAS, and where there is none that has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn.cpu.blas import axpby, single_threaded_blas


@pytest.mark.parametrize("by_blas", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 1000])
def test_axpby(n: int, dtype: Any, by_blas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    x, y = (rng.standard_normal(n).astype(dtype) for _ in range(2))
    with single_threaded_blas:
        if by_blas:
            if not single_threaded_blas.axpby:
                pytest.skip("NumPy's BLAS has no axpby, as that of NumPy 2.0")
            assert set(single_threaded_blas.axpby) == {np.dtype(np.float32), np.dtype(np.float64)}
        else:
            monkeypatch.setattr(single_threaded_blas, "axpby", {})
        for alpha, beta in ((0.25, -1.5), (dtype(-0.1), 1), (3, dtype(0.9))):
            expected = float(alpha) * x.astype(np.float64) + float(beta) * y
            kept = x.copy()
            axpby(alpha, x, beta, y, np.empty_like(x))
            # Two roundings of numbers below ten.
            np.testing.assert_allclose(y, expected, rtol=0, atol=20 * np.finfo(dtype).eps)
            np.testing.assert_array_equal(x, kept)


def test_axpby_writes_to_its_part_alone() -> None:
    whole, x = np.ones(40, np.float32), np.ones(20, np.float32)
    with single_threaded_blas:
        axpby(1, x, 2, whole[10:30], np.empty_like(x))
    assert whole.tolist() == [1] * 10 + [3] * 20 + [1] * 10


def test_nothing_times_infinity_is_nan() -> None:
    """As in every other body: BLAS would take it for nothing."""
    for alpha, beta in ((0, 1), (1, 0)):
        x, y = (np.array([np.inf, 1], np.float32) for _ in range(2))
        with single_threaded_blas, np.errstate(invalid="ignore"):
            axpby(alpha, x, beta, y, np.empty_like(x))
        assert np.isnan(y[0])
        assert y[1] == 1
