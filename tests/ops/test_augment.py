"""The primitives of data augmentation against loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn._device import device
from gpunn.ops.augment import erase, jitter, resample
from tests.devices import call

_CPU = device("cpu")


@given(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_resample_is_a_loop_over_pixels(n: int, h: int, w: int, p: int, seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    x = rng.standard_normal((n, h, w, 3)).astype(np.float32)
    rows, columns = rng.integers(-2, h + 2, (n, p)), rng.integers(-2, w + 2, (n, p + 1))
    y = resample(_CPU, x, rows, columns, 0.25)
    assert y.shape == (n, p, p + 1, 3)
    for i, j, k in np.ndindex(n, p, p + 1):
        r, c = rows[i, j], columns[i, k]
        expected = x[i, r, c] if 0 <= r < h and 0 <= c < w else np.full(3, 0.25, np.float32)
        np.testing.assert_array_equal(y[i, j, k], expected)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_erase_is_a_loop_over_pixels(h: int, w: int, size: int, seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    x = rng.standard_normal((2, h, w, 3)).astype(np.float32)
    top, left = rng.integers(-2, h + 1, 2), rng.integers(-2, w + 1, 2)
    expected = x.copy()
    for i in range(2):
        for r in range(max(0, top[i]), min(h, top[i] + size)):
            for c in range(max(0, left[i]), min(w, left[i] + size)):
                expected[i, r, c] = 7
    before = x.copy()
    np.testing.assert_array_equal(erase(_CPU, x, top, left, size, size, 7.0), expected)
    np.testing.assert_array_equal(x, before)


def test_jitter_by_hand() -> None:
    """Pixels 0.2 and 0.6 of one grey image: brightness 1.5, then contrast 0.5 around the mean."""
    x = np.array([0.2, 0.6], np.float64).reshape(1, 1, 2, 1)
    one, zero = np.ones(1), np.zeros(1)
    y = jitter(_CPU, x, np.array([1.5]), np.array([0.5]), one, zero, one)
    # 0.3 and 0.9, mean 0.6; halfway to it: 0.45 and 0.75.
    np.testing.assert_allclose(y.ravel(), [0.45, 0.75], rtol=1e-12)


def test_jitter_without_saturation_is_grey() -> None:
    x = np.array([0.9, 0.5, 0.1]).reshape(1, 1, 1, 3)
    one, zero = np.ones(1), np.zeros(1)
    y = jitter(_CPU, x, one, one, zero, np.zeros(3), np.ones(3))
    np.testing.assert_allclose(y.ravel(), [0.299 * 0.9 + 0.587 * 0.5 + 0.114 * 0.1] * 3, rtol=1e-12)


@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_kernels_equal_the_plain_bodies(kernels: str, n: int, h: int, w: int, c: int, seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    dtype = (np.float32, np.float64)[seed % 2]
    x = rng.standard_normal((n, h, w, c)).astype(dtype)
    rows, columns = rng.integers(-2, h + 2, (n, w)), rng.integers(-2, w + 2, (n, 3))
    np.testing.assert_array_equal(call(resample, kernels, x, rows, columns, 0.5), resample(_CPU, x, rows, columns, 0.5))
    corners = rng.integers(-2, h + 1, n), rng.integers(-2, w + 1, n)
    np.testing.assert_array_equal(call(erase, kernels, x, *corners, 2, 3, 7.0), erase(_CPU, x, *corners, 2, 3, 7.0))
    factors = [rng.uniform(0.5, 1.5, n).astype(dtype) for _ in range(3)]
    statistics = rng.random(c).astype(dtype), rng.uniform(0.2, 0.4, c).astype(dtype)
    # A mean of at most 36 pixels, added up in another order; the division by std makes it up to five times larger.
    bound = {np.float32: 1e-5, np.float64: 1e-14}[dtype]
    np.testing.assert_allclose(
        call(jitter, kernels, x, *factors, *statistics), jitter(_CPU, x, *factors, *statistics), rtol=0, atol=bound
    )
