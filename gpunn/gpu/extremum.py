"""Launches of ``kernels/extremum.cu`` and of the kernels that spread the gradients of extrema."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.errors import ShapeError
from gpunn.gpu.broadcast import c_number, launch_spread
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.gpu.reduce import columns_shape, reduce_axes, rows_shape

SOURCE = KernelSource("extremum.cu", REAL=("float", "double", "int64"), VEC=(1, 4))
_BLOCK = 256


def launch_extremum(device: Device, x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    """Values and indices of a contiguous array's largest (smallest) elements along ``axis``, which is kept."""
    shape = (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
    kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    if math.prod(kept) == 0:
        return device.empty(kept, x.dtype), device.empty(kept, np.int64)
    values, places = _extremum(device, x.reshape(shape), None, largest)
    return values.reshape(kept), places.reshape(kept)


def _extremum(device: Device, x: Any, found: Any, largest: bool) -> tuple[Any, Any]:
    """(outer, length, inner) to (outer, inner), in one launch or two; ``found``: the indices of x's elements."""
    outer, length, inner = x.shape
    vec = vector_width(length if inner == 1 else inner, x)
    if inner == 1:
        block, slices, per_slice = rows_shape(outer, length, vec)
        shape: tuple[int, ...] = (outer, slices, 1)
        grid = (ceil_div(outer, block[1]), slices, 1)
        sizes: tuple[Any, ...] = (outer, length, per_slice)
        kernel = "extremum_rows"
    else:
        block, tiles, slices, per_slice = columns_shape(outer, length, inner, vec)
        shape = (slices, outer, inner)
        grid = (outer * tiles, slices, 1)
        sizes = (outer, length, inner, per_slice, divisor_struct(tiles))
        kernel = "extremum_columns"
    values, places = device.empty(shape, x.dtype), device.empty(shape, np.int64)
    args = (values, places, x, found, *sizes, int(largest))
    SOURCE.launch(device, kernel, grid, block, args, REAL=c_number(kernel, x.dtype), VEC=vec)
    if slices > 1:
        if inner > 1:
            values, places = (a.reshape(1, slices, outer * inner) for a in (values, places))
        values, places = _extremum(device, values, places, largest)
    return values, places


def launch_place(device: Device, dy: Any, index: Any, axis: int, length: int) -> Any:
    """A new array of ``length`` along ``axis``: dy at ``index`` there, else 0; all arrays are contiguous."""
    dx = device.empty((*dy.shape[:axis], length, *dy.shape[axis + 1 :]), dy.dtype)
    if dx.size >= 2**31:
        raise ShapeError(f"place_along: {dx.size} elements are too many for 32-bit sizes: split the batch.")
    if dx.size:
        divisors = divisor_struct(length), divisor_struct(math.prod(dy.shape[axis + 1 :]))
        grid = (ceil_div(dx.size, _BLOCK), 1, 1)
        args = (dx, dy, index, *divisors, dx.size)
        SOURCE.launch(device, "place_along", grid, _BLOCK, args, REAL=c_type(dy.dtype, "max"), VEC=1)
    return dx


def launch_share(device: Device, dy: Any, x: Any, y: Any, axes: tuple[int, ...], finds_nan: bool) -> Any:
    """dy in equal parts for the elements of x that equal y; physical arrays, dy and y with the axes kept."""
    count = reduce_axes(device, x, axes, "equal_or_nan" if finds_nan else "equal", beside=y)
    return launch_spread(device, "share_backward", x, dy, (y, count, int(finds_nan)))
