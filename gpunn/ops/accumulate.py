"""What the tape accumulates gradients with: in-place and out-of-place sums, copies, scaling (``arithmetic.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu import memory
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive

SOURCE = KernelSource("arithmetic.cu", **DECLARED)


# -- primitives -----------------------------------------------------------------------------------


@primitive(returns=("y",))
def add_same_shape(xp: Any, a: Any, b: Any) -> Any:
    """y = a + b, both of the same shape."""
    with quiet():
        return a + b


@add_same_shape.numpy
def _(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    y = memory.empty(a.shape, a.dtype)
    with quiet():
        return np.add(a, b, out=y)


@add_same_shape.kernel(stored=("a", "b"))
def _(device: Device, a: Any, b: Any) -> Any:
    y = device.empty(a.shape, a.dtype)
    launch_elementwise(SOURCE, "add_same_shape", device, (y, a, b))
    return y


@primitive(returns=(), mutates=("total",))
def accumulate(xp: Any, total: Any, extra: Any) -> None:
    """total += extra, in place."""
    with quiet():
        total += extra


@accumulate.kernel(stored=("total", "extra"))
def _(device: Device, total: Any, extra: Any) -> None:
    launch_elementwise(SOURCE, "accumulate", device, (total, extra))


@primitive(returns=("y",))
def copy(xp: Any, x: Any) -> Any:
    """A new array with x's values."""
    return x.copy()


@copy.numpy
def _(x: np.ndarray) -> np.ndarray:
    y = memory.empty(x.shape, x.dtype)
    np.copyto(y, x)
    return y


@copy.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "copy", device, (y, x))
    return y


@primitive(returns=("y",))
def scale(xp: Any, x: Any, factor: float) -> Any:
    """y = factor * x."""
    with quiet():
        return x * x.dtype.type(factor)


@scale.numpy
def _(x: np.ndarray, factor: float) -> np.ndarray:
    y = memory.empty(x.shape, x.dtype)
    with quiet():
        return np.multiply(x, x.dtype.type(factor), out=y)


@scale.kernel(stored=("x",))
def _(device: Device, x: Any, factor: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "scale", device, (y, x), factor)
    return y


@primitive(returns=("y",))
def scale_by_scalar(xp: Any, x: Any, factor: Any) -> Any:
    """y = factor[0] * x with the factor in device memory."""
    return x * factor.reshape(-1)[0]


@scale_by_scalar.kernel(stored=("x", "factor"))
def _(device: Device, x: Any, factor: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "scale_by_scalar", device, (y, x, factor))
    return y
