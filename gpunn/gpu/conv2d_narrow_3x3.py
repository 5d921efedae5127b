"""Kernel launches for 3 x 3 filters of groups with few channels (``kernels/conv2d_narrow_3x3.cu``)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._window import Window
from gpunn.gpu import stored
from gpunn.gpu.conv2d_geometry import refuse_too_many
from gpunn.gpu.launcher import DIVISOR, SHARED_MOST, KernelSource, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct
from gpunn.gpu.tickets import COUNT, tickets

_T, _QUAD, _SIDE, _TAPS = 4, 4, 3, 9  # conv2d_narrow_3x3.cu
_BLOCK, _LANES = 192, (8, 12, 16)  # threads of a block, and those side by side along channels
_DEEP = 64  # threads of a block along z at most, on every GPU
_ROOM = SHARED_MOST - 16  # without what last_block() takes
SOURCE = KernelSource(
    "conv2d_narrow_3x3.cu",
    dynamic_shared={
        "conv2d_narrow_3x3_forward": _LANES[-1] * 2 * _TAPS * 4 * 16,  # two quads of channels in a group
        "conv2d_narrow_3x3_backward_data": _LANES[-1] * 2 * _TAPS * 4 * 16,
        "conv2d_narrow_3x3_backward_weight": _ROOM,
        "conv2d_narrow_3x3_backward_weight_relu": _ROOM,
    },
    REAL=("float",),
    STORED=stored.DECLARED["STORED"],
    DEPTHWISE=(0, 1),
    STRIDE=(1, 2),
)
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q", "pad_h", "pad_w", "group_C", "group_K")]
    + [(f"by_{name}", DIVISOR) for name in ("P", "group_C", "group_K", "channel_tiles", "columns", "rows")]
)
_WAVES = 2 * 132  # blocks of a weight gradient; a constant, so that every card computes the same bits
_LEAST_PIXELS = 16  # pixels that a thread adds up: fewer are not worth another slice


def takes(x: Any, weight: Any, window: Window, groups: int, *arrays: Any) -> bool:
    """Whether these kernels compute a convolution of narrow groups; ``arrays`` are the others of its launch."""
    k, depth = weight.shape[0], weight.shape[3]
    quads = (weight.shape[0],) if _is_depthwise(weight, groups) else (depth, k // groups)
    return (
        stored.computed(x.dtype) == np.float32
        and (window.R, window.S) == (_SIDE, _SIDE)
        and window.dilation == (1, 1)
        and window.stride in ((1, 1), (2, 2))
        and max(window.W * depth * groups, window.Q * k) < 2**31  # places within a row
        and vector_width(_QUAD, x, weight, *arrays) == _QUAD
        and all(channels % _QUAD == 0 for channels in quads)
    )


def _is_depthwise(weight: Any, groups: int) -> bool:
    return bool(groups == weight.shape[0] and weight.shape[3] == 1)


@functools.lru_cache(maxsize=1024)
def _kernel_shape(n: int, c: int, k: int, window: Window, groups: int, tiles: tuple[int, int, int]) -> Struct:
    """``struct Narrow3x3Shape``."""
    w = window
    refuse_too_many(n, c, k, w)
    sizes = (n, w.H, w.W, c, k, w.R, w.S, w.P, w.Q, *w.padding, c // groups, k // groups)
    divisors = (w.P, c // groups, k // groups, *tiles)
    return Struct(np.array([(*sizes, *(divisor(max(1, d)) for d in divisors))], _SHAPE))


def _even(pieces: int, most: int) -> int:
    """So many pieces at a time, at most ``most``, that all times have about as many."""
    return ceil_div(pieces, max(1, ceil_div(pieces, most)))


def _lanes(channels: int) -> int:
    """Quads side by side in a block: those of 128 bytes, or somewhat more where so fewer threads have none."""
    quads = channels // _QUAD
    return quads if quads < _LANES[0] else min(_LANES, key=lambda n: ceil_div(quads, n) * n)


def _launch_gather(
    device: Device, kernel: str, arrays: tuple[Any, ...], tail: tuple[Any, ...], window: Window, groups: int, back: bool
) -> None:
    """Launch forward or, with ``back``, backward data: tail follows the struct."""
    out, weight = arrays[0], arrays[2]
    n, rows, columns, channels = out.shape
    k, depth = weight.shape[0], weight.shape[3]
    depthwise, stride = _is_depthwise(weight, groups), window.stride[0]
    high = 2 if back or stride == 1 else 1  # rows of a thread
    before = [pad % 2 if back and stride == 2 else 0 for pad in window.padding]  # of a thread's, beyond the image
    down, across = ceil_div(rows + before[0], high), ceil_div(columns + before[1], _T)
    places, lanes = n * down * across, _lanes(channels)
    block = (lanes, max(1, min(_BLOCK // lanes, places)), 1)
    tiles = ceil_div(channels, lanes * _QUAD)
    shape = _kernel_shape(n, depth * groups, k, window, groups, (tiles, across, down))
    shared = lanes * _TAPS * (1 if depthwise else (k // groups if back else depth)) * _QUAD * 4  # float
    choice = {**stored.macros_of(out.dtype, kernel), "DEPTHWISE": int(depthwise), "STRIDE": stride}
    grid, args = (ceil_div(places, block[1]) * tiles, 1, 1), (*map(stored.bits, arrays), shape, places, *tail)
    SOURCE.launch(device, kernel, grid, block, args, shared=shared, **choice)


def forward(device: Device, y: Any, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> None:
    """Write y."""
    arrays = (y, x, weight, bias)
    _launch_gather(device, "conv2d_narrow_3x3_forward", arrays, (int(relu),), window, groups, False)


def backward_data(device: Device, dx: Any, dz: Any, weight: Any, window: Window, groups: int) -> None:
    """Write the gradient of x; dz is that of the output before its ReLU."""
    _launch_gather(device, "conv2d_narrow_3x3_backward_data", (dx, dz, weight), (), window, groups, True)


def backward_weight(
    device: Device, dweight: Any, dbias: Any, dz: Any, dy: Any, y: Any, x: Any, window: Window, groups: int
) -> None:
    """Write dweight, and dbias and dz where they are given."""
    n, _, _, c = x.shape
    k, depth = dweight.shape[0], dweight.shape[3]
    depthwise = _is_depthwise(dweight, groups)
    parts = 1 if depthwise else depth // _QUAD * _SIDE
    sums = _TAPS + 1 if depthwise else _SIDE * _QUAD + 1  # quads
    lanes = _lanes(k)
    rows, tiles = n * window.P, ceil_div(k // _QUAD, lanes)
    most = max(1, min(_DEEP, _BLOCK // (lanes * parts), rows))  # rows at a time
    slices = 1
    if tiles <= COUNT:
        slices = max(1, min(_WAVES // tiles, rows * window.Q // (most * _LEAST_PIXELS), rows))
    each = ceil_div(rows, slices)
    slices = ceil_div(rows, each) if rows else 1
    at_once = max(1, _even(each, most))
    partial = drawn = None
    if slices > 1:
        partial = device.empty((slices, tiles, sums, lanes * parts * _QUAD), np.dtype(np.float32))
        drawn = tickets(device)
    shape = _kernel_shape(n, c, k, window, groups, (1, 1, 1))
    shared = max(1, at_once // 2) * sums * lanes * parts * _QUAD * 4
    choice = {**stored.macros_of(x.dtype, "conv2d"), "DEPTHWISE": int(depthwise), "STRIDE": window.stride[0]}
    grid, block = (tiles, slices, 1), (lanes, parts, at_once)
    kernel = "conv2d_narrow_3x3_backward_weight"
    given: tuple[Any, ...] = (dweight, dbias, partial, drawn, dy, x)
    if y is not None:
        kernel, given = f"{kernel}_relu", (dweight, dbias, dz, partial, drawn, dy, y, x)
    SOURCE.launch(device, kernel, grid, block, (*map(stored.bits, given), shape, each), shared=shared, **choice)
