"""Example inputs of the activations."""

from __future__ import annotations

from typing import Any

import numpy as np


def inputs(rng: np.random.Generator) -> list[np.ndarray]:
    """Example inputs: special values, values far out, an empty batch, a scalar, odd sizes, float64."""
    # 1e-37 is the smallest kind of number that a GPU tells from 0: NVRTC is always given -ftz=true.
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-37, -1e-37, -1.0, 1.0, 6.0], np.float32)
    far = np.array([1e4, -1e4, 100, -100, 89, -89, 20.5, 19.5, -30], np.float32)
    drawn = [np.asarray(2 * rng.standard_normal(s), np.float32) for s in ((3, 5), (2, 4, 4, 8), (0, 3), (), (1027,))]
    return [special, far, far.astype(np.float64), *drawn, 2 * rng.standard_normal(17)]


def gradients(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """An example gradient for an output of x's shape and dtype."""
    return np.asarray(rng.standard_normal(x.shape), x.dtype)


def rectified(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An example output of a ReLU; a NaN here and there, at which the gradient passes."""
    y = np.maximum(rng.standard_normal(shape), 0).astype(dtype)
    y.reshape(-1)[5::11] = np.nan
    return y
