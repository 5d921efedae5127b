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
from gpunn.gpu.launcher import DIVISOR, SHARED_MOST, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct
from gpunn.gpu.tickets import COUNT, tickets

_STATIC = 16  # bytes of shared memory that a weight gradient's last_block() takes, up to the next vector
# Dynamic shared memory: the most of a forward pass, and of a weight gradient.
_SHARED = (SHARED_MOST, SHARED_MOST - _STATIC)
SOURCE = KernelSource(
    "conv2d_first.cu",
    dynamic_shared={"conv2d_first_forward": _SHARED[False], "conv2d_first_backward_weight": _SHARED[True]},
    REAL=("float", "double"),
    TN=(4, 8),
    GEOMETRY=(1, 13, 15, 23, 27),
    # Products of doubles take most cards so long that nothing else of a loop matters.
    only=lambda macros: macros["REAL"] == "float" or macros["GEOMETRY"] == "1",
)
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [(f"{name}_{axis}", np.int32) for name in ("stride", "pad", "dilation") for axis in "hw"]
    + [(name, np.int32) for name in ("high", "wide", "band_p", "band_q", "rows", "columns", "seen", "pitch")]
    + [(name, np.int32) for name in ("tiles", "tiles_per_block")]
    + [(name, np.int32) for name in ("filter_groups", "across", "lanes")]
    + [("apart", np.int32, (4,))]
    + [(name, np.int32) for name in ("strips", "aligned")]
    + [(f"by_{name}", DIVISOR) for name in ("tiles_P", "tiles_Q", "wide", "quads", "line", "C", "filter_groups")]
    + [(f"by_{name}", DIVISOR) for name in ("across", "per_channel", "SC", "depth", "filter_quads")]
)
_TICKETS = 32  # conv2d_first.cu
# Planes this far apart, of 32 banks: eight strips side by side are in different ones, and so are most of the numbers
# of a few channels on their way to shared memory.
_BANKS = {True: (4, 12, 20, 28), False: (12, 20)}  # one channel; several
_MOST_CHANNELS = 4
_FEWEST, _BLOCK = 64, 256  # fewest and most threads of a block
_WAVES = 2 * 132  # blocks of a weight gradient; a constant, so that every card computes the same bits
_BLOCKS = 4 * 132  # blocks of a forward pass, before each takes more tiles
_MOST_TILES = 8  # of a block: its filters then cost little


@dataclass(frozen=True)
class Plan:
    """How a layer is split into blocks."""

    geometry: int  # GEOMETRY in conv2d_first.cu
    tn: int
    filter_tiles: int
    filter_groups: int  # threads of a tile's filters
    high: int
    wide: int  # outputs of a tile
    bands: tuple[int, int]  # rows and columns from one of its four bands to the next; (0, 0) where it has none
    rows: int
    columns: int  # of x under it, or under a band
    pitch: int  # from plane to plane
    strips: int
    across: int
    lanes: int
    threads: int
    shared: int  # numbers
    cost: float

    @property
    def filters(self) -> int:
        """Filters of a filter tile."""
        return self.filter_groups * self.tn

    @property
    def band(self) -> tuple[int, int]:
        """Rows and columns of outputs of a band."""
        return self.bands[0] or self.high, self.bands[1] or self.wide


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


def _geometry(s: int, window: Window, itemsize: int) -> int:
    """10 * stride + filter elements in a row where that has a kernel of its own, else 1."""
    found = 10 * window.stride[1] + s
    common = itemsize == 4 and window.dilation[1] == 1 and s < 10
    return found if common and str(found) in SOURCE.choices["GEOMETRY"] else 1


def _thread_strips(geometry: int, itemsize: int) -> int:
    """STRIPS in conv2d_first.cu."""
    return {1: 32 // itemsize, 3: 3}.get(geometry % 10, 1)


def _pitch(columns: int, c: int) -> int:
    """From plane to plane of so many columns: planes are in different banks."""
    return next(n for n in itertools.count(columns) if n % 32 in _BANKS[c == 1])


def _vector_pitch(columns: int, c: int, itemsize: int) -> int:
    """The same where four bands lie side by side: vectors of four numbers, some of which fill all banks at a time."""
    places = 32 // itemsize
    return 4 * (columns + ({1: 3, 2: places // 2, 3: 3, 4: places // 4}[c] - columns) % places)


def _tiles_of(geometry: int) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """(high, wide, bands): the tiles that there are."""
    if geometry > 1:
        yield from ((high, wide, (0, 0)) for high in (1, 2, 4, 8, 16) for wide in (8, 16, 32))
        return
    for high, wide in itertools.product((1, 2, 4, 8), (2, 4, 8, 16, 32)):  # of a band
        yield high * 4, wide, (high, 0)
        yield high, wide * 4, (0, wide)


def _plans(weight_shape: tuple[int, ...], window: Window, itemsize: int, back: bool) -> Iterator[Plan]:
    k, r, s, c = weight_shape
    (sh, sw), dh = window.stride, window.dilation[0]
    geometry = _geometry(s, window, itemsize)
    depth, strips = r * s * c, r * c * (s if geometry == 1 else 1)
    each = _thread_strips(geometry, itemsize)
    pitches = (False, True) if geometry == 1 else (False,)
    sizes = itertools.product((4, 8), (1, 2, 4, 8), tuple(_tiles_of(geometry)), pitches)
    for tn, more, (high, wide, bands), tight in sizes:
        filter_tiles = ceil_div(k, 8 * tn) * more
        groups = ceil_div(ceil_div(k, filter_tiles), tn)
        filters = groups * tn
        band_high, band_wide = bands[0] or high, bands[1] or wide
        rows = (band_high - 1) * sh + (r - 1) * dh + 1
        columns = _seen(band_wide, s, window)
        if geometry > 1:  # vectors of four
            columns = (wide - 4) * sw + ceil_div(3 * sw + s, 4) * 4
            pitch = _pitch(columns, c)
        else:  # large filters may have no room for anything between planes, whose vectors then meet in banks
            pitch = 4 * columns if tight else _vector_pitch(columns, c, itemsize)
        patch = rows * c * pitch
        if back:
            across = ceil_div(strips, each)
            lanes = min(_BLOCK // (groups * across), high * wide // 4)
            threads = groups * across * lanes
            shared = max(patch + high * wide * filters, each * (geometry % 10) * threads, 4 * threads)
        else:
            outputs = 256 // tn // itemsize  # of a thread
            across, lanes = band_wide // (outputs if geometry > 1 else outputs // 4), 1
            threads = groups * across * band_high
            shared = patch + filters * (depth + 1 | 1) + ceil_div(4 * strips, itemsize)
        if not _FEWEST <= threads <= _BLOCK or shared * itemsize > _SHARED[back]:
            continue
        # Estimated cycles of an SM for all tiles of an image: products, at less than full speed with few threads;
        # copies to shared memory; waiting at barriers.
        tiles = ceil_div(window.P, high) * ceil_div(window.Q, wide)
        elements = across * each * (geometry % 10) if back else depth
        products = high * wide * filters * elements / 128 * max(1.0, 128 / threads)
        brought = rows * c * columns * (1 if geometry > 1 else 4) + (high * wide * filters / 4 if back else 0)
        cost = filter_tiles * tiles * (products + brought / (4 if tight else 8) + 300)
        cut = (high, wide, bands, rows, columns, pitch, strips, across, lanes, threads, shared)
        yield Plan(geometry, tn, filter_tiles, groups, *cut, cost)


def _seen(wide: int, s: int, window: Window) -> int:
    """How many columns of x that many outputs in a row see."""
    return (wide - 1) * window.stride[1] + (s - 1) * window.dilation[1] + 1


@functools.lru_cache(maxsize=1024)
def _kernel_shape(
    n: int, weight_shape: tuple[int, ...], window: Window, found: Plan, blocks: int, aligned: bool, apart: int
) -> Struct:
    """``struct FirstShape``, for about that many blocks; apart: bytes from one of a thread's four to the next."""
    w, (k, r, s, c) = window, weight_shape
    refuse_too_many(n, c, k, w)
    tiles_p, tiles_q = ceil_div(w.P, found.high), ceil_div(w.Q, found.wide)
    tiles = n * tiles_p * tiles_q
    sizes = (n, w.H, w.W, c, k, r, s, w.P, w.Q, *w.stride, *w.padding, *w.dilation)
    band_high, band_wide = found.band
    patch = (found.rows, found.columns, _seen(band_wide, s, window), found.pitch)
    cut = (found.high, found.wide, *found.bands, *patch, tiles, ceil_div(tiles, max(1, blocks)))
    threads = (found.filter_groups, found.across)
    per_channel = 1 if found.geometry > 1 else s
    rows = (found.wide, found.wide // 4) if found.geometry > 1 else (band_high * band_wide, band_wide)
    of_tiles = (tiles_p, tiles_q, *rows, found.columns * c)
    divisors = (*of_tiles, c, *threads, per_channel, s * c, r * s * c, found.filters // 4)
    numbers = (*sizes, *cut, *threads, found.lanes, [i * apart for i in range(4)], found.strips, int(aligned))
    return Struct(np.array([(*numbers, *map(divisor, divisors))], _SHAPE))


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
    quads_apart = found.across * 4 * window.stride[1] * x.itemsize
    shape = _kernel_shape(n, weight.shape, window, found, blocks, vector_width(k, y) == 4, quads_apart)
    kernel = "conv2d_first_forward"
    grid = (ceil_div(tiles, int(shape["tiles_per_block"])) if tiles else 0, found.filter_tiles, 1)
    args = (y, x, weight, bias, shape, int(relu))
    choice: dict[str, Any] = {"REAL": c_type(x.dtype, kernel), "TN": found.tn, "GEOMETRY": found.geometry}
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
    aligned = vector_width(k, dy, y, dz) == 4
    shape = _kernel_shape(n, weight.shape, window, found, blocks, aligned, found.filters * x.itemsize)
    blocks = max(1, ceil_div(tiles, max(1, int(shape["tiles_per_block"]))))
    partial = drawn = None
    if blocks > 1:
        sums = (_thread_strips(found.geometry, x.itemsize) * (found.geometry % 10) + 1) * found.tn
        numbers = sums * found.filter_groups * found.across
        partial = device.empty((found.filter_tiles, blocks, numbers), x.dtype)
        drawn = tickets(device)
    kernel = "conv2d_first_backward_weight"
    grid = (blocks, found.filter_tiles, 1)
    args = (dweight, dbias, dz, partial, drawn, dy, y, x, shape)
    choice: dict[str, Any] = {"REAL": c_type(x.dtype, kernel), "TN": found.tn, "GEOMETRY": found.geometry}
    SOURCE.launch(device, kernel, grid, found.threads, args, shared=found.shared * x.itemsize, **choice)
    return dweight, dbias, dy if y is None else dz
