"""Kernel launches for convolutions whose groups have few channels (``kernels/conv2d_depthwise.cu``).

Those with filters of 3 x 3 mostly go to `gpunn.gpu.conv2d_narrow_3x3`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._window import Window
from gpunn.gpu import conv2d_narrow_3x3, stored
from gpunn.gpu.conv2d_geometry import phases, refuse_too_many
from gpunn.gpu.launcher import DIVISOR, SHARED_MOST, KernelSource, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct
from gpunn.gpu.tickets import COUNT, tickets

_T, _TAPS = 4, 4  # conv2d_depthwise.cu: columns of a thread, filter elements of a part
_SUMS = _TAPS + 1
_BLOCK = 256  # threads of a block
SOURCE = KernelSource(
    "conv2d_depthwise.cu",
    dynamic_shared={
        "conv2d_narrow_forward": SHARED_MOST,
        "conv2d_narrow_backward_data": SHARED_MOST,
        "conv2d_narrow_backward_weight": _BLOCK * _SUMS * 4 * 8,  # vectors of doubles
    },
    only=stored.is_declared,
    **stored.DECLARED,
    VEC=(1, 4),
    DEPTHWISE=(0, 1),
)
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [(f"{name}_{axis}", np.int32) for name in ("stride", "pad", "dilation") for axis in "hw"]
    + [("group_C", np.int32), ("group_K", np.int32)]
    + [(f"reach_{axis}", np.int32) for axis in "hw"]
    + [("parts", np.int32)]
    + [(f"by_{name}", DIVISOR) for name in ("P", "S", "group_C", "group_K", "chunks", "parts_S")]
    + [(f"by_{name}", DIVISOR) for name in ("channel_tiles", "column_tiles", "row_tiles", "phases")]
    + [(f"by_{name}_{axis}", DIVISOR) for name in ("stride", "step") for axis in "hw"]
)
_MOST_CHANNELS = 8  # of a group: beyond, a tile of the matrix product is no longer mostly padding
_MOST_PARTS = 16  # of a filter: a block holds all of them
_WAVES = 2 * 132  # blocks of a weight gradient; a constant, so that every card computes the same bits
_LEAST_PIXELS = 16  # pixels that a thread adds up: fewer are not worth another slice


def takes(weight_shape: tuple[int, ...], groups: int) -> bool:
    """Whether these kernels compute a convolution: if its groups have few channels and its filters few elements.

    They take float32, float64, and 16 bits where all arrays are of one dtype.
    """
    k, r, s, depth = weight_shape
    if groups == 1 or max(depth, k // groups) > _MOST_CHANNELS:
        return False
    return r * ceil_div(s, _TAPS) * _chunks(depth, 1 if depth % 4 else 4) <= _MOST_PARTS


def _chunks(depth: int, vec: int) -> int:
    return ceil_div(depth, vec)


def _at_least(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()


@functools.lru_cache(maxsize=1024)
def _kernel_shape(
    n: int, c: int, k: int, window: Window, groups: int, chunks: int, tiles: tuple[int, int, int], starts: int
) -> Struct:
    """``struct NarrowShape``."""
    w = window
    refuse_too_many(n, c, k, w)
    step, reach = phases(w)
    parts_s = ceil_div(w.S, _TAPS)
    sizes = (n, w.H, w.W, c, k, w.R, w.S, w.P, w.Q, *w.stride, *w.padding, *w.dilation, c // groups, k // groups)
    divisors = (w.P, w.S, c // groups, k // groups, chunks, parts_s, *tiles, starts, *w.stride, *step)
    return Struct(np.array([(*sizes, *reach, parts_s * w.R * chunks, *(divisor(max(1, d)) for d in divisors))], _SHAPE))


def _lanes(channels: int, width: int) -> int:
    """Adjacent threads along the channels: no more than read 128 bytes."""
    return min(8 if width == 4 else 32, _at_least(ceil_div(channels, width)))


def _launch_gather(
    device: Device,
    kernel: str,
    args: tuple[Any, ...],
    tail: tuple[Any, ...],
    window: Window,
    groups: int,
    back: bool,
    vec: int,
) -> None:
    """Launch forward or, with ``back``, backward data: args are the arrays, tail follows the struct."""
    out = args[0]
    n, rows, columns, channels = out.shape
    c, k = (channels, args[1].shape[3]) if back else (args[1].shape[3], channels)
    depthwise = groups == c == k
    width = vec if depthwise else 1
    chunks = 1 if depthwise else (k if back else c) // groups // vec
    starts, stride = (min(window.stride[1], columns), window.stride[1]) if back else (1, 1)
    lanes = _lanes(channels, width)
    per_lane = window.R * window.S * chunks * vec * stored.computed(out.dtype).itemsize
    while lanes * per_lane > SHARED_MOST:
        lanes //= 2
    across = starts * ceil_div(ceil_div(columns, stride), _T)
    positions = _BLOCK // lanes
    down = min(_at_least(rows), 8 if positions >= 32 else 4)
    block = (lanes, min(_at_least(across), positions // down), down)
    tiles = ceil_div(channels, lanes * width), ceil_div(across, block[1]), ceil_div(rows, block[2])
    shape = _kernel_shape(n, c, k, window, groups, chunks, tiles, starts)
    grid = (n * tiles[0] * tiles[1] * tiles[2], 1, 1)
    choice = {**stored.macros_of(out.dtype, kernel), "VEC": vec, "DEPTHWISE": int(depthwise)}
    given = (*map(stored.bits, args), shape, *tail)
    SOURCE.launch(device, kernel, grid, block, given, shared=lanes * per_lane, **choice)


def forward(device: Device, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> Any:
    """Like the kernel body of ``conv2d_forward``."""
    n, _, _, c = x.shape
    k = weight.shape[0]
    y = device.empty((n, window.P, window.Q, k), x.dtype)
    if conv2d_narrow_3x3.takes(x, weight, window, groups, bias):
        conv2d_narrow_3x3.forward(device, y, x, weight, window, groups, bias, relu)
        return y
    vec = vector_width(c, x, bias) if groups == c == k else vector_width(c // groups, x)
    _launch_gather(device, "conv2d_narrow_forward", (y, x, weight, bias), (int(relu),), window, groups, False, vec)
    return y


def backward_data(device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, groups: int) -> Any:
    """The gradient of x; dz is that of the output before its ReLU."""
    c, k = x_shape[3], weight.shape[0]
    dx = device.empty(x_shape, dz.dtype)
    if conv2d_narrow_3x3.takes(dz, weight, window, groups):
        conv2d_narrow_3x3.backward_data(device, dx, dz, weight, window, groups)
        return dx
    vec = vector_width(k if groups == c == k else k // groups, dz)
    _launch_gather(device, "conv2d_narrow_backward_data", (dx, dz, weight), (), window, groups, True, vec)
    return dx


def backward_weight(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int, wants_bias: bool, wants_dz: bool
) -> tuple[Any, Any, Any]:
    """(dweight, dbias or None, dz where it is wanted); dz is dy itself without a ReLU."""
    n, _, _, c = x.shape
    k = weight.shape[0]
    dweight = device.empty(weight.shape, x.dtype)
    dbias = device.empty((k,), x.dtype) if wants_bias else None
    dz = device.empty(dy.shape, x.dtype) if wants_dz and y is not None else None
    if conv2d_narrow_3x3.takes(x, weight, window, groups, dy, y):
        conv2d_narrow_3x3.backward_weight(device, dweight, dbias, dz, dy, y, x, window, groups)
        return dweight, dbias, dy if y is None else dz
    depthwise = groups == c == k
    vec = vector_width(c, x, dy, y, dz) if depthwise else vector_width(c // groups, x)
    width = vec if depthwise else 1
    chunks = _chunks(c // groups, vec)
    parts = window.R * ceil_div(window.S, _TAPS) * chunks
    lanes = _lanes(k, width)
    while lanes * parts > _BLOCK:  # many parts, as with unaligned arrays
        lanes //= 2
    rows = n * window.P
    at_once = max(1, min(64, _at_least(rows), _BLOCK // (lanes * parts)))
    tiles = ceil_div(k, lanes * width)
    slices = 1
    if tiles <= COUNT:
        slices = max(1, min(ceil_div(_WAVES, tiles), rows * window.Q // (at_once * _LEAST_PIXELS), rows))
    each = ceil_div(rows, slices)
    slices = ceil_div(rows, each) if rows else 1
    partial, drawn, real = None, None, stored.computed(x.dtype)
    if slices > 1:
        partial = device.empty((slices, tiles, _SUMS, lanes * parts * vec), real)
        drawn = tickets(device)
    shape = _kernel_shape(n, c, k, window, groups, chunks, (1, 1, 1), 1)
    arrays = [stored.bits(array) for array in (dweight, dbias, dz, partial, drawn, dy, y, x)]
    shared = max(1, at_once - 1) * _SUMS * lanes * parts * vec * real.itemsize
    kernel = "conv2d_narrow_backward_weight"
    choice = {**stored.macros_of(x.dtype, kernel), "VEC": vec, "DEPTHWISE": int(depthwise)}
    grid, block = (tiles, slices, 1), (lanes, parts, at_once)
    SOURCE.launch(device, kernel, grid, block, (*arrays, shape, each), shared=shared, **choice)
    return dweight, dbias, dy if y is None else dz
