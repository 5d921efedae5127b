"""Kernel launches for first layers: convolutions of images with few channels (``kernels/conv2d_first.cu``)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._window import Window
from gpunn.gpu.conv2d_geometry import refuse_too_many
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor
from gpunn.gpu.launches import Struct
from gpunn.gpu.tickets import COUNT, tickets

SOURCE = KernelSource("conv2d_first.cu", REAL=("float", "double"), TN=(4, 8))
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [(f"{name}_{axis}", np.int32) for name in ("stride", "pad", "dilation") for axis in "hw"]
    + [(name, np.int32) for name in ("high", "wide", "rows", "columns", "tiles", "tiles_per_block")]
    + [(name, np.int32) for name in ("filter_groups", "across", "lanes")]
    + [(f"by_{name}", DIVISOR) for name in ("tiles_P", "tiles_Q", "wide", "columns", "filter_groups", "across")]
    + [(f"by_{name}", DIVISOR) for name in ("SC", "C", "depth", "filters")]
)
_TM, _PAD, _TICKETS = 8, 4, 32  # conv2d_first.cu
_SUMS = _TM + 1  # of a filter
_MOST_CHANNELS = 4
_FEWEST, _BLOCK, _SHARED = 64, 256, 48 * 1024  # fewest and most threads of a block; bytes that every card has
_WAVES = 2 * 132  # blocks of a weight gradient; a constant, so that every card computes the same bits
_BLOCKS = 4 * 132  # blocks of a forward pass, before each takes more tiles
_MOST_TILES = 8  # of a block: its filters then cost little


@dataclass(frozen=True)
class Plan:
    """How a layer is split into blocks."""

    tn: int
    filter_tiles: int
    filter_groups: int  # threads of a tile's filters
    high: int
    wide: int  # outputs of a tile
    rows: int
    columns: int  # of x under it, columns times channels
    across: int
    lanes: int
    threads: int
    shared: int  # numbers
    cost: float

    @property
    def filters(self) -> int:
        """Filters of a filter tile."""
        return self.filter_groups * self.tn


def takes(weight_shape: tuple[int, ...], groups: int, window: Window, itemsize: int, back: bool) -> bool:
    """Whether the forward kernel, or the weight gradient's (``back``), computes a convolution.

    It does for images of few channels, where the tiles of some block size fit into shared memory.
    """
    if groups != 1 or weight_shape[3] > _MOST_CHANNELS:
        return False
    return plan(weight_shape, window, itemsize, back) is not None


@functools.lru_cache(maxsize=1024)
def plan(weight_shape: tuple[int, ...], window: Window, itemsize: int, back: bool) -> Plan | None:
    """The cheapest way to split a forward pass, or with ``back`` a weight gradient; None if there is none."""
    return min(_plans(weight_shape, window, itemsize, back), key=lambda p: p.cost, default=None)


def _plans(weight_shape: tuple[int, ...], window: Window, itemsize: int, back: bool) -> Iterator[Plan]:
    k, r, s, c = weight_shape
    depth, tn = r * s * c, 8 if k > 32 else 4
    (sh, sw), (dh, dw) = window.stride, window.dilation
    least = ceil_div(k, 8 * tn)
    for more, high, wide in itertools.product((1, 2, 4, 8), (1, 2, 4, 8, 16), (8, 16, 32)):
        filter_tiles = least * more
        groups = ceil_div(ceil_div(k, filter_tiles), tn)
        filters = groups * tn
        rows, columns = (high - 1) * sh + (r - 1) * dh + 1, ((wide - 1) * sw + (s - 1) * dw + 1) * c
        if back:
            across = ceil_div(depth, _TM)
            lanes = min(_BLOCK // (groups * across), high * wide)
            threads = groups * across * lanes
            shared = max(rows * columns + high * wide * filters, _SUMS * threads)
        else:
            across, lanes = wide // _TM, 1
            threads = groups * across * high
            shared = rows * columns + depth * (filters + _PAD)
        if not _FEWEST <= threads <= _BLOCK or shared * itemsize > _SHARED:
            continue
        # Estimated cycles of an SM for all tiles of an image: products, at less than full speed with few threads;
        # copies to shared memory; waiting at barriers.
        tiles = ceil_div(window.P, high) * ceil_div(window.Q, wide)
        products = high * wide * filters * (across * _TM if back else depth) / 128 * max(1.0, 128 / threads)
        brought = rows * columns + (high * wide * filters if back else 0)
        cost = filter_tiles * tiles * (products + brought / 16 + 300)
        yield Plan(tn, filter_tiles, groups, high, wide, rows, columns, across, lanes, threads, shared, cost)


@functools.lru_cache(maxsize=1024)
def _kernel_shape(n: int, weight_shape: tuple[int, ...], window: Window, found: Plan, blocks: int) -> Struct:
    """``struct FirstShape``, for about that many blocks."""
    w, (k, r, s, c) = window, weight_shape
    refuse_too_many(n, c, k, w)
    tiles_p, tiles_q = ceil_div(w.P, found.high), ceil_div(w.Q, found.wide)
    tiles = n * tiles_p * tiles_q
    sizes = (n, w.H, w.W, c, k, r, s, w.P, w.Q, *w.stride, *w.padding, *w.dilation)
    cut = (found.high, found.wide, found.rows, found.columns, tiles, ceil_div(tiles, max(1, blocks)))
    threads = (found.filter_groups, found.across)
    divisors = (tiles_p, tiles_q, found.wide, found.columns, *threads, s * c, c, r * s * c, found.filters)
    return Struct(np.array([(*sizes, *cut, *threads, found.lanes, *map(divisor, divisors))], _SHAPE))


def _tiles(n: int, window: Window, found: Plan) -> int:
    return n * ceil_div(window.P, found.high) * ceil_div(window.Q, found.wide)


def forward(device: Device, x: Any, weight: Any, window: Window, bias: Any, relu: bool) -> Any:
    """Like the kernel body of ``conv2d_forward``."""
    n, k = x.shape[0], weight.shape[0]
    y = device.empty((n, window.P, window.Q, k), x.dtype)
    found = plan(weight.shape, window, x.itemsize, False)
    assert found is not None
    tiles = _tiles(n, window, found)
    each = max(1, min(_MOST_TILES, tiles * found.filter_tiles // _BLOCKS))
    blocks = ceil_div(tiles, each)
    shape = _kernel_shape(n, weight.shape, window, found, blocks)
    kernel = "conv2d_first_forward"
    grid = (ceil_div(tiles, int(shape["tiles_per_block"])) if tiles else 0, found.filter_tiles, 1)
    args = (y, x, weight, bias, shape, int(relu))
    choice: dict[str, Any] = {"REAL": c_type(x.dtype, kernel), "TN": found.tn}
    SOURCE.launch(device, kernel, grid, found.threads, args, shared=found.shared * x.itemsize, **choice)
    return y


def backward_weight(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window, wants_bias: bool, wants_dz: bool
) -> tuple[Any, Any, Any]:
    """(dweight, dbias or None, dz where it is wanted); dz is dy itself without a ReLU."""
    n, k = x.shape[0], weight.shape[0]
    dweight = device.empty(weight.shape, x.dtype)
    dbias = device.empty((k,), x.dtype) if wants_bias else None
    dz = device.empty(dy.shape, x.dtype) if wants_dz and y is not None else None
    found = plan(weight.shape, window, x.itemsize, True)
    assert found is not None
    tiles = _tiles(n, window, found)
    blocks = max(1, min(tiles, _WAVES // found.filter_tiles)) if found.filter_tiles * _TICKETS <= COUNT else 1
    shape = _kernel_shape(n, weight.shape, window, found, blocks)
    blocks = max(1, ceil_div(tiles, max(1, int(shape["tiles_per_block"]))))
    partial = drawn = None
    if blocks > 1:
        numbers = _SUMS * found.tn * found.filter_groups * found.across
        partial = device.empty((found.filter_tiles, blocks, numbers), x.dtype)
        drawn = tickets(device)
    kernel = "conv2d_first_backward_weight"
    grid = (blocks, found.filter_tiles, 1)
    args = (dweight, dbias, dz, partial, drawn, dy, y, x, shape)
    choice: dict[str, Any] = {"REAL": c_type(x.dtype, kernel), "TN": found.tn}
    SOURCE.launch(device, kernel, grid, found.threads, args, shared=found.shared * x.itemsize, **choice)
    return dweight, dbias, dy if y is None else dz
