"""The gradient of a first layer's images in float16 and bfloat16 by tensor cores.

The launches of ``kernels/conv2d_first_half_data.cu``.
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
from gpunn.gpu.conv2d_geometry import counts_in_ints, refuse_too_many
from gpunn.gpu.half import bits_of, number_name, one_dtype
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct
from gpunn.gpu.tensor import has_tensor_cores

# conv2d_first_half_data.cu: of K, numbers of a vector and of a step; rows and pixels of a warp; columns of a group.
_EACH, _DEPTH = 8, 16
_HIGH, _WIDE, _COLUMNS = 8, 16, 8
_STAGED = _HIGH * (_WIDE * _COLUMNS + 8) * 4  # bytes of a warp's sums of a group on their way out
_WARPS, _MOST_WARPS = 8, 16  # of a block, of an SM
_TAPS = (2, 3, 4, 5, 7)
_SHARED = 96 * 1024  # the most of a block; every card with tensor cores has it
_OF_SM = 227 * 1024  # of a large card's SM
_SMS = 132
_MOST_CHANNELS, _MOST_NUMBERS = 4, 16  # of dx at one pixel of a phase
_KERNEL = "conv2d_first_half_backward_data"
SOURCE = KernelSource(
    "conv2d_first_half_data.cu",
    dynamic_shared={_KERNEL: _SHARED},
    architectures=(80, 86, 89, 90, 100, 120),
    REAL=("float",),
    NUMBER=("BFLOAT16", "FLOAT16"),
    TAPS=_TAPS,
    TOGETHER=(1, 2),
    # Two groups of columns are two phases of rows, or more than 8 numbers of a row: with a stride.
    only=lambda macros: macros["TOGETHER"] == "1" or int(macros["TAPS"]) <= 4,
)
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [(f"{name}_{axis}", np.int32) for name in ("stride", "lead", "shift", "first") for axis in "hw"]
    + [(name, np.int32) for name in ("taps_h", "steps", "numbers", "of_row", "all", "high", "wide", "rows", "columns")]
    + [(name, np.int32) for name in ("pitch", "plane", "tiles", "tiles_per_block", "pairs")]
    + [(f"by_{name}", DIVISOR) for name in ("tiles_w", "tiles_h", "columns", "across", "of_row", "taps_h", "groups")]
)


@dataclass(frozen=True)
class Axis:
    """Pixels along an axis: h + padding + lead = stride u + phase."""

    stride: int
    lead: int
    shift: int  # padding + lead
    first: int  # u of the first pixel
    units: int  # u from there to the last
    taps: int

    @classmethod
    def all_of(cls, length: int, elements: int, stride: int, padding: int) -> Iterator[Axis]:
        """One for each lead: with another one other pixels are one u, and filter elements one tap."""
        for lead in range(stride):
            shift = padding + lead
            first, last = shift // stride, (length - 1 + shift) // stride
            yield cls(stride, lead, shift, first, last - first + 1, ceil_div(elements + lead, stride))


@dataclass(frozen=True)
class Plan:
    """How a layer is split into blocks."""

    down: Axis
    right: Axis
    taps: int  # TAPS
    groups: int  # TOGETHER
    of_row: int  # groups of columns of a phase of rows
    steps: int
    warps: tuple[int, int]  # down, across
    rows: int
    columns: int  # of dz under a tile
    pitch: int
    plane: int
    shared: int  # bytes
    tiles: tuple[int, int]  # of an image: down, across
    cost: float

    @property
    def all_groups(self) -> int:
        """Groups of columns of all phases of rows."""
        return self.of_row * self.down.stride


@functools.lru_cache(maxsize=1024)
def plan(weight_shape: tuple[int, ...], window: Window) -> Plan | None:
    """The cheapest way to split the gradient of an image; None if there is none."""
    return min(_plans(weight_shape, window), key=lambda p: p.cost, default=None)


def _plans(weight_shape: tuple[int, ...], window: Window) -> Iterator[Plan]:
    k, r, s, c = weight_shape
    numbers, steps = window.stride[1] * c, ceil_div(k, _DEPTH)
    if numbers > _MOST_NUMBERS:
        return
    of_row = ceil_div(numbers, _COLUMNS)
    axes = (
        Axis.all_of(window.H, r, window.stride[0], window.padding[0]),
        Axis.all_of(window.W, s, window.stride[1], window.padding[1]),
    )
    for down, right in itertools.product(*map(list, axes)):
        taps = next((taps for taps in _TAPS if taps >= right.taps), None)
        if taps is None:
            continue
        groups = 2 if of_row * down.stride > 1 and taps <= 4 else 1
        filters = steps * down.taps * groups * ceil_div(taps, 2) * 32 * 16
        for below, across in itertools.product(range(1, _WARPS + 1), repeat=2):
            warps = below * across
            if warps > _WARPS:
                continue
            rows, columns = below * _HIGH + down.taps - 1, across * _WIDE + taps - 1
            pitch = columns | 1
            plane = rows * pitch + (4 - rows * pitch) % 8  # the two begin in different banks
            shared = filters + max(2 * plane * 16, warps * groups * _STAGED)
            if shared > _SHARED:
                continue
            tiles = ceil_div(down.units, below * _HIGH), ceil_div(right.units, across * _WIDE)
            # Estimated cycles of an SM: products, of 16 x 8 x 16, and what comes to shared memory.
            products = warps * r * of_row * taps * 8 * steps * 1.53
            brought = rows * columns * steps * 1.3 * ceil_div(of_row * down.stride, groups)
            cost = tiles[0] * tiles[1] * (products + brought + 500)
            cut = (below, across), rows, columns, pitch, plane, shared, tiles, cost
            yield Plan(down, right, taps, groups, of_row, steps, *cut)


def takes(
    device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, groups: int, more: Any
) -> bool:
    """Whether the gradient of such images is computed here; dz may be what it is made of."""
    n, _, _, c = x_shape
    k = len(weight)
    if groups != 1 or c > _MOST_CHANNELS or window.dilation != (1, 1) or not one_dtype(dz, weight, more):
        return False
    if vector_width(k, dz, widths=(_EACH,)) != _EACH:
        return False
    if not counts_in_ints(n, c, k, window, _DEPTH) or not has_tensor_cores(device):
        return False
    return plan(weight.shape, window) is not None


@functools.lru_cache(maxsize=1024)
def _kernel_shape(n: int, weight_shape: tuple[int, ...], window: Window, found: Plan, each: int, words: bool) -> Struct:
    """``struct FirstHalfDataShape``; words: whether dx and what is added to it may be taken as words."""
    w, (k, r, s, c) = window, weight_shape
    refuse_too_many(n, c, k, w)
    down, right = found.down, found.right
    numbers = right.stride * c
    # Where each u begins at an even number of a row, and rows at a word.
    pairs = words and found.of_row == 1 and all(length % 2 == 0 for length in (numbers, w.W * c, right.shift * c))
    sizes = (n, w.H, w.W, c, k, r, s, w.P, w.Q)
    axes = [(getattr(down, name), getattr(right, name)) for name in ("stride", "lead", "shift", "first")]
    tile = found.warps[0] * _HIGH, found.warps[1] * _WIDE
    cut = (down.taps, found.steps, numbers, found.of_row, found.all_groups, *tile, found.rows, found.columns)
    tiles = (n * found.tiles[0] * found.tiles[1], each)
    divisors = (found.tiles[1], found.tiles[0], found.columns, found.warps[1], found.of_row, down.taps, found.groups)
    both = (length for axis in axes for length in axis)
    return Struct(
        np.array([(*sizes, *both, *cut, found.pitch, found.plane, *tiles, int(pairs), *map(divisor, divisors))], _SHAPE)
    )


def backward_data(device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, more: Any) -> Any:
    """The gradient of x, added to ``more`` unless that is None, where it is taken."""
    dx = device.empty(x_shape, dz.dtype)
    found = plan(weight.shape, window)
    assert found is not None
    warps, across = found.warps[0] * found.warps[1], ceil_div(found.all_groups, found.groups)
    tiles = x_shape[0] * found.tiles[0] * found.tiles[1]
    # One wave: a block's filters cost as much as several tiles.
    at_once = max(1, min(_MOST_WARPS // warps, _OF_SM // (found.shared + 1024)))
    each = max(1, ceil_div(tiles * across, at_once * _SMS))
    words = vector_width(2, dx, more, widths=(2,)) == 2
    shape = _kernel_shape(x_shape[0], weight.shape, window, found, each, words)
    choice: dict[str, Any] = {
        "REAL": "float",
        "NUMBER": number_name(dz.dtype),
        "TAPS": found.taps,
        "TOGETHER": found.groups,
    }
    grid, args = (ceil_div(tiles, each), across, 1), (*map(bits_of, (dx, dz, weight, more)), shape)
    SOURCE.launch(device, _KERNEL, grid, warps * 32, args, shared=found.shared, **choice)
    return dx
