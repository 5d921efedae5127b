"""Arrays of the tests of convolutions: numbers, on a device and in float64; how far a result is from the right one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from tests.devices import host


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def on(where: Device, *arrays: np.ndarray | None) -> list[Any]:
    """The same on a device; None stays None."""
    return [None if array is None else where.array(array) for array in arrays]


def wide(*arrays: Any) -> list[Any]:
    """The same in float64 on the host; None stays None."""
    return [None if a is None else host(a).astype(np.float64) for a in arrays]


def error(found: Any, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest element."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    return float(np.abs(host(found) - expected).max() / np.abs(expected).max())
