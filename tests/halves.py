"""Arrays of the tests of 16-bit numbers, what computes with them, and how near to the right ones results have to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._half import half_named
from gpunn._window import Window
from gpunn.gpu.launcher import trace_launches
from tests.devices import host

KINDS = ["float16", "bfloat16"]
NEAR = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # half a place of the last bit
FLOAT = 3e-5  # float32's own errors, of sums of a few hundred terms


def numbers(kind: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in 16 bits."""
    return np.random.default_rng(seed).standard_normal(shape).astype(half_named("test", kind))


def operands(kind: str, form: str, m: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of a product, as stored. N is in whole vectors, and what is contiguous."""
    a = numbers(kind, *((k, m) if form[0] == "t" else (m, k)))
    return a, numbers(kind, *((n, k) if form[1] == "t" else (k, n)), seed=1)


def window(h: int, w: int, r: int, s: int, stride: Any, padding: Any, dilation: Any) -> Window:
    """One that is padded by as much at the end as in front."""
    return Window(h, w, r, s, stride, padding, dilation, False, padding)


def wide(array: Any) -> np.ndarray:
    """The same in float64 on the host."""
    return host(array).astype(np.float64)


def check(kind: str, found: Any, expected: np.ndarray) -> None:
    """Rounded once, from a sum in float32."""
    assert found.dtype == half_named("test", kind)
    assert found.shape == expected.shape
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    error = np.abs(wide(found) - expected) - NEAR[kind] * np.abs(expected)
    assert error.max(initial=0) <= FLOAT * size, error.max()


def kernels_of(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What a call returns, and the names of the kernels it launches."""
    with trace_launches() as launches:
        found = call()
    return found, [launch.kernel for launch in launches]
