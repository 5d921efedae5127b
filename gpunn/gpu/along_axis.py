"""Launches of the kernels that work along one axis (``kernels/along_axis.cuh``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn._device import Device
from gpunn._layout import physical, physical_axes
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.gpu.strided_copy import copied

_BLOCK = 512  # threads of a block at most, as in along_axis.cuh

_HELD = {1: 8, 4: 4}  # vectors that a thread keeps, also as in along_axis.cuh


def row_launch(rows: int, length: int, vec: int, most: int = _BLOCK) -> tuple[int, tuple[int, int, int], bool]:
    """(blocks, block, whether a row fits into its threads' registers) for contiguous rows and ``most`` threads."""
    held = vec * _HELD[vec]
    if length <= 32 * held:
        across, down = 32, max(1, min(8, rows))
    else:  # two vectors per thread, as long as there are enough threads
        across, down = min(most, 32 * ceil_div(length, 32 * 2 * vec)), 1
    return ceil_div(rows, down), (across, down, 1), length <= across * held


def column_launch(outer: int, length: int, inner: int) -> tuple[int, tuple[int, int, int], bool]:
    """The same for lines whose elements are ``inner`` apart: neighbouring threads have neighbouring lines."""
    across = min(32, 1 << (inner - 1).bit_length())
    down = min(_BLOCK // across, 1 << (ceil_div(length, _HELD[1]) - 1).bit_length())
    return outer * ceil_div(inner, across), (across, down, 1), length <= down * _HELD[1]


def launch_along(source: KernelSource, kernel: str, device: Device, axis: int, arrays: tuple[Any, ...]) -> None:
    """Launch a kernel on the lines along ``axis`` of arrays of one shape."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if arrays[0].size == 0:
        return
    outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    vec = vector_width(length, *arrays) if inner == 1 else 1
    blocks, block, held = row_launch(outer, length, vec) if inner == 1 else column_launch(outer, length, inner)
    args = (*arrays, outer, length, inner, int(held))
    source.launch(device, kernel, (blocks, 1, 1), block, args, REAL=c_type(dtype, kernel), VEC=vec)


def by_rows(device: Device, x: Any, axis: int, kernels: Callable[[Any], Any]) -> Any:
    """Physical: what ``kernels`` make of the lines of a logical array along ``axis``, given as contiguous rows."""
    x, axis = physical(x), physical_axes((axis,), x.ndim)[0]
    order = [*(a for a in range(x.ndim) if a != axis), axis]
    if order == [*range(x.ndim)]:
        return kernels(x)
    y = kernels(copied(device, x, [x.shape[a] for a in order], [x.strides[a] for a in order]))
    return copied(device, y, x.shape, [y.strides[order.index(a)] for a in range(x.ndim)])
