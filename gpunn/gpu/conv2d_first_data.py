"""Kernel launches for the gradient of a first layer's images (``kernels/conv2d_first_data.cu``).

They also are the forward pass of a transposed convolution that makes images.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._window import Window
from gpunn.gpu.conv2d_geometry import phases, refuse_too_many
from gpunn.gpu.launcher import DIVISOR, SHARED_MOST, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct

_MOST_CHANNELS = 4
_COMMON = ("1", "3")  # channels of most images, which have kernels for filters of most sizes
SOURCE = KernelSource(
    "conv2d_first_data.cu",
    dynamic_shared={"conv2d_first_backward_data": SHARED_MOST},
    REAL=("float", "double"),
    CHANNELS=tuple(range(1, _MOST_CHANNELS + 1)),
    GEOMETRY=(1, 13, 15, 17, 23, 24, 27),
    # Products of doubles take most cards so long that nothing else of a loop matters.
    only=lambda macros: macros["GEOMETRY"] == "1" or (macros["REAL"] == "float" and macros["CHANNELS"] in _COMMON),
)
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [
        (f"{name}_{axis}", np.int32)
        for name in ("stride", "pad", "dilation", "step", "reach", "first")
        for axis in "hw"
    ]
    + [(name, np.int32) for name in ("high", "wide", "rows", "columns", "pitch", "plane", "planes", "aligned")]
    + [(f"by_{name}", DIVISOR) for name in ("tiles_w", "phases_w", "phases_h", "tiles_h")]
    + [(f"by_{name}", DIVISOR) for name in ("columns", "high", "line", "filter_row")]
)
_FEWEST, _MOST = 64, 128  # threads of a block
_HIGH = (8, 16, 32)  # rows of a tile: eight threads side by side are in as many rows, and so in different banks


@dataclass(frozen=True)
class Plan:
    """How a layer is split into blocks."""

    geometry: int  # GEOMETRY in conv2d_first_data.cu
    high: int
    wide: int  # pixels of a tile, of one phase
    tiles: tuple[int, int]  # of a phase: down, across
    phases: tuple[int, int]  # that are blocks of their own: of rows, of columns
    first: tuple[int, int]  # u of the first pixel
    rows: int
    columns: int  # of dz under a tile
    pitch: int
    plane: int  # vectors from row to row, and from four of K to the next
    planes: int
    threads: int
    shared: int  # numbers
    cost: float


def takes(weight_shape: tuple[int, ...], groups: int, window: Window, itemsize: int) -> bool:
    """Whether a gradient is computed here: of images of few channels, where some tile fits into shared memory."""
    if groups != 1 or weight_shape[3] > _MOST_CHANNELS:
        return False
    return plan(weight_shape, window, itemsize) is not None


@functools.lru_cache(maxsize=1024)
def plan(weight_shape: tuple[int, ...], window: Window, itemsize: int) -> Plan | None:
    """The cheapest way to split the gradient of an image; None if there is none."""
    return min(_plans(weight_shape, window, itemsize), key=lambda p: p.cost, default=None)


def _geometry(weight_shape: tuple[int, ...], window: Window, itemsize: int) -> int:
    """10 * stride + filter elements in a row where that has a kernel of its own, else 1."""
    _, _, s, c = weight_shape
    found = 10 * window.stride[1] + s
    common = itemsize == 4 and window.dilation[1] == 1 and s < 10 and str(c) in _COMMON
    return found if common and str(found) in SOURCE.choices["GEOMETRY"] else 1


def _pixels(geometry: int, c: int, itemsize: int) -> int:
    """PIXELS in conv2d_first_data.cu."""
    return (64 if geometry == 1 and c <= 2 else 32) // itemsize


def _units(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    """Per axis (first, number): the u of the pixels."""
    found = []
    for length, stride, pad in zip((window.H, window.W), window.stride, window.padding, strict=True):
        first = pad // stride
        found.append((first, max(1, (length - 1 + pad) // stride - first + 1)))
    return found[0], found[1]


def _plans(weight_shape: tuple[int, ...], window: Window, itemsize: int) -> Iterator[Plan]:
    k, r, s, c = weight_shape
    geometry = _geometry(weight_shape, window, itemsize)
    (step_h, step_w), (reach_h, reach_w) = phases(window)
    taps_h, taps_w = ceil_div(r, step_h), ceil_div(s, step_w)
    (first_h, units_h), (first_w, units_w) = _units(window)
    pixels, width = _pixels(geometry, c, itemsize), 1 if geometry == 1 else window.stride[1]  # of a thread; its phases
    separate = window.stride[0], window.stride[1] // width
    for high, groups, planes in itertools.product(_HIGH, range(2, _MOST // _HIGH[0] + 1), (1, 2)):
        threads, wide = high * groups, groups * pixels
        if not _FEWEST <= threads <= _MOST or (planes == 2 and k <= 4):
            continue
        rows, columns = high + (taps_h - 1) * reach_h, wide + (taps_w - 1) * reach_w
        pitch = columns | 1
        plane = rows * pitch + (4 - rows * pitch) % 8 * (planes - 1)  # the two planes begin in different banks
        patch, filters = planes * plane * 4, planes * taps_h * s * c * 4
        shared = max(patch + filters, threads * (pixels * width * c | 1))
        if shared * itemsize > SHARED_MOST:
            continue
        tiles = ceil_div(units_h, high), ceil_div(units_w, wide)
        # Estimated instructions of an SM for a tile, per four of K: products, and what comes to shared memory, where
        # half a sector costs twice.
        products = ceil_div(threads, 32) * 32 * taps_h * (s if width > 1 else taps_w) * pixels * c * 4
        brought = rows * columns * 12 * (3 - planes) + taps_h * s * c * 20
        cost = tiles[0] * tiles[1] * (products + brought + 20 * threads)
        cut = (high, wide, tiles, separate, (first_h, first_w), rows, columns, pitch, plane, planes, threads, shared)
        yield Plan(geometry, *cut, cost)


@functools.lru_cache(maxsize=1024)
def _kernel_shape(n: int, weight_shape: tuple[int, ...], window: Window, found: Plan, aligned: bool) -> Struct:
    """``struct FirstDataShape``."""
    w, (k, r, s, c) = window, weight_shape
    refuse_too_many(n, c, k, w)
    step, reach = phases(w)
    sizes = (n, w.H, w.W, c, k, r, s, w.P, w.Q, *w.stride, *w.padding, *w.dilation, *step, *reach, *found.first)
    cut = (found.high, found.wide, found.rows, found.columns, found.pitch, found.plane, found.planes, int(aligned))
    line = found.wide * c * (1 if found.geometry == 1 else w.stride[1])
    divisors = (found.tiles[1], *reversed(found.phases), found.tiles[0], found.columns, found.high, line, s * c)
    return Struct(np.array([(*sizes, *cut, *map(divisor, divisors))], _SHAPE))


def backward_data(device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, more: Any) -> Any:
    """The gradient of x, added to ``more`` unless that is None; dz is that of the output before its ReLU."""
    dx = device.empty(x_shape, dz.dtype)
    found = plan(weight.shape, window, dz.itemsize)
    assert found is not None
    shape = _kernel_shape(x_shape[0], weight.shape, window, found, vector_width(weight.shape[0], dz) == 4)
    blocks = x_shape[0] * found.tiles[0] * found.tiles[1] * found.phases[0] * found.phases[1]
    kernel = "conv2d_first_backward_data"
    choice: dict[str, Any] = {"REAL": c_type(dz.dtype, kernel), "CHANNELS": x_shape[3], "GEOMETRY": found.geometry}
    args, shared = (dx, dz, weight, more, shape), found.shared * dz.itemsize
    SOURCE.launch(device, kernel, (blocks, 1, 1), found.threads, args, shared=shared, **choice)
    return dx
