"""The joint norm of many arrays, clipping them by norm or by value, and scaling them (``kernels/clip_grad.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks
from gpunn.gpu import stored
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import BLOCK, DECLARED, tables
from gpunn.primitive import primitive

SOURCE = KernelSource("clip_grad.cu", **DECLARED)


@primitive(returns=("norm",))
def total_norm(xp: Any, arrays: list[Any], p: float) -> Any:
    """(sum of |x|^p)^(1/p) over all elements of all arrays, 0-d; the largest |x| for p = infinity."""
    sizes = [xp.abs(a.reshape(-1)) for a in arrays]
    if p == math.inf:
        return xp.asarray(xp.concatenate([*sizes, xp.zeros(1, arrays[0].dtype)]).max())
    total = sum(((s**p).sum(dtype=np.float64) for s in sizes), xp.zeros((), np.float64))
    return xp.asarray(total ** (1 / p)).astype(arrays[0].dtype)


@total_norm.numpy
def _(arrays: list[Any], p: float) -> Any:
    def part(i: int, x: Any) -> float:
        if p == 2:
            return float(np.dot(x, x))
        return float(np.abs(x).max()) if p == math.inf else float((np.abs(x) ** p).sum())

    found = [value for blocks in on_blocks(part, arrays) for value in blocks]
    if p == math.inf:
        return np.array(np.max(found, initial=0), arrays[0].dtype)
    with np.errstate(all="ignore"):
        return np.array(np.float64(sum(found)) ** (1 / p), arrays[0].dtype)


@total_norm.kernel(stored=("arrays",))
def _(device: Device, arrays: list[Any], p: float, merge_threads: int = BLOCK) -> Any:
    dtype, macros = stored.computed(arrays[0].dtype), stored.macros_of(arrays[0].dtype, "total_norm")
    kind = 0 if p == 2 else 1 if p == math.inf else 2
    parts = list(tables(("arrays", "in", arrays)))
    count = sum(t.chunks for t in parts)
    part, norm, offset = device.empty((count,), dtype), device.empty((), dtype), 0
    power = 0.0 if p == math.inf else p
    for t in parts:
        grid, args = (t.chunks, 1, 1), (part, t.struct, offset, kind, power)
        SOURCE.launch(device, "grad_norm_parts", grid, BLOCK, args, pointees=t.pointees, **t.macros("total_norm"))
        offset += t.chunks
    args = (norm, part, count, kind, power)
    SOURCE.launch(device, "grad_norm_total", (1, 1, 1), merge_threads, args, **macros, VEC=1)
    return norm


@primitive(returns=(), mutates=("arrays",))
def scale_by_norm(xp: Any, arrays: list[Any], norm: Any, max_norm: float) -> None:
    """x *= min(1, max_norm / (norm + 1e-6)) for all arrays; norm is 0-d, on the device."""
    one = norm.dtype.type(1)
    factor = xp.minimum(max_norm / (norm + norm.dtype.type(1e-6)), one)  # NaN stays NaN
    for x in arrays:
        x *= factor


@scale_by_norm.numpy
def _(arrays: list[Any], norm: Any, max_norm: float) -> None:
    factor = np.minimum(norm.dtype.type(max_norm) / (norm + norm.dtype.type(1e-6)), norm.dtype.type(1))
    if factor == 1:
        return

    def scale(i: int, x: Any) -> None:
        x *= factor

    on_blocks(scale, arrays)


@scale_by_norm.kernel(stored=("arrays",))
def _(device: Device, arrays: list[Any], norm: Any, max_norm: float) -> None:
    for t in tables(("arrays", "inout", arrays)):
        grid, args = (t.chunks, 1, 1), (t.struct, norm, max_norm)
        SOURCE.launch(device, "scale_by_norm", grid, BLOCK, args, pointees=t.pointees, **t.macros("scale_by_norm"))


@primitive(returns=(), mutates=("arrays",))
def clip_values(xp: Any, arrays: list[Any], limit: float) -> None:
    """x = min(max(x, -limit), limit) for all arrays; NaN stays NaN."""
    for x in arrays:
        x[...] = xp.clip(x, x.dtype.type(-limit), x.dtype.type(limit))


@clip_values.numpy
def _(arrays: list[Any], limit: float) -> None:
    def clip(i: int, x: Any) -> None:
        np.clip(x, x.dtype.type(-limit), x.dtype.type(limit), out=x)

    on_blocks(clip, arrays)


@clip_values.kernel(stored=("arrays",))
def _(device: Device, arrays: list[Any], limit: float) -> None:
    for t in tables(("arrays", "inout", arrays)):
        grid, args = (t.chunks, 1, 1), (t.struct, limit)
        SOURCE.launch(device, "clip_values", grid, BLOCK, args, pointees=t.pointees, **t.macros("clip_values"))


@primitive(returns=(), mutates=("arrays",))
def scale_arrays(xp: Any, arrays: list[Any], factor: float) -> None:
    """x *= factor for all arrays."""
    for x in arrays:
        x *= x.dtype.type(factor)


@scale_arrays.numpy
def _(arrays: list[Any], factor: float) -> None:
    def scale(i: int, x: Any) -> None:
        with np.errstate(all="ignore"):
            x *= x.dtype.type(factor)

    on_blocks(scale, arrays)


@scale_arrays.kernel(stored=("arrays",))
def _(device: Device, arrays: list[Any], factor: float) -> None:
    for t in tables(("arrays", "inout", arrays)):
        grid, args = (t.chunks, 1, 1), (t.struct, factor)
        SOURCE.launch(device, "scale_arrays", grid, BLOCK, args, pointees=t.pointees, **t.macros("scale_arrays"))
