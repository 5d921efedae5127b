"""What the tape adds up gradients with: sums of two arrays, in place or not, copies, scaling (``arithmetic.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.elementwise import launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive

SOURCE = KernelSource("arithmetic.cu", REAL=("float", "double"), VEC=(1, 4))

# -- primitives -----------------------------------------------------------------------------------


def _pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    sizes = (
        (0, np.float32),
        ((), np.float32),
        (1, np.float32),
        (1027, np.float32),
        (2048, np.float32),
        (37, np.float64),
    )
    return [{name: np.asarray(rng.standard_normal(n), t) for name in ("a", "b")} for n, t in sizes]


@primitive(examples=_pair_examples, returns=("y",))
def add_same_shape(xp: Any, a: Any, b: Any) -> Any:
    """y = a + b, both of one shape."""
    with quiet():
        return a + b


@add_same_shape.kernel
def _(device: Device, a: Any, b: Any) -> Any:
    y = device.empty(a.shape, a.dtype)
    launch_elementwise(SOURCE, "add_same_shape", device, (y, a, b))
    return y


def _accumulate_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"total": e["a"], "extra": e["b"]} for e in _pair_examples(rng)]


@primitive(examples=_accumulate_examples, returns=(), mutates=("total",))
def accumulate(xp: Any, total: Any, extra: Any) -> None:
    """total += extra, in place."""
    with quiet():
        total += extra


@accumulate.kernel
def _(device: Device, total: Any, extra: Any) -> None:
    launch_elementwise(SOURCE, "accumulate", device, (total, extra))


def _copy_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"]} for e in _pair_examples(rng)]


@primitive(examples=_copy_examples, returns=("y",))
def copy(xp: Any, x: Any) -> Any:
    """A new array with x's values."""
    return x.copy()


@copy.kernel
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "copy", device, (y, x))
    return y


def _scale_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"], "factor": 0.3} for e in _pair_examples(rng)]


@primitive(examples=_scale_examples, returns=("y",))
def scale(xp: Any, x: Any, factor: float) -> Any:
    """y = factor * x."""
    with quiet():
        return x * x.dtype.type(factor)


@scale.kernel
def _(device: Device, x: Any, factor: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "scale", device, (y, x), factor)
    return y


def _scale_by_scalar_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"], "factor": rng.standard_normal(1).astype(e["a"].dtype)} for e in _pair_examples(rng)]


@primitive(examples=_scale_by_scalar_examples, returns=("y",))
def scale_by_scalar(xp: Any, x: Any, factor: Any) -> Any:
    """y = factor[0] * x with the factor in device memory."""
    return x * factor.reshape(-1)[0]


@scale_by_scalar.kernel
def _(device: Device, x: Any, factor: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "scale_by_scalar", device, (y, x, factor))
    return y
