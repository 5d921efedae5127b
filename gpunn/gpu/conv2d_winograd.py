"""Convolutions of 3 x 3 by Winograd's algorithm on a GPU: when it pays, and its launches.

The transforms are ``kernels/conv2d_winograd.cu``, the 36 products between them ``kernels/gemm_batched.cu``. Images are
taken some at a time, so that what is transformed needs a limited amount of memory, whatever the batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpunn._device import Device
from gpunn._window import Window
from gpunn._winograd import is_winograd_enabled
from gpunn.gpu import gemm
from gpunn.gpu.choices import Way
from gpunn.gpu.gemm import choose_tile, launch_batched
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor, divisor_struct, vector_width
from gpunn.gpu.launches import Struct
from gpunn.gpu.windows import SPREAD, spread

SOURCE = KernelSource("conv2d_winograd.cu", REAL=("float",), VEC=(2,))

WINOGRAD = 4  # the first number of its ways, where others have a tile: outputs of a tile, each way

_OUT, _PLACES, _TAPS = 4, 36, 9  # a tile's outputs each way; its transformed numbers; a filter's elements
_VEC, _THREADS, _LANES = 2, 128, 16  # conv2d_winograd.cu
_ALIGNED = 4  # numbers of a vector in products
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("H", "W", "C", "pad_h", "pad_w")]
    + [("step_h", DIVISOR), ("step_w", DIVISOR), ("over", SPREAD)]
)
_MOST_NUMBERS = 2**31 - 1  # of an image

# Megabytes of transformed tiles at a time. By rule; and what else may be tried.
_ROOM = 128
WAYS: list[Way] = [(WINOGRAD, room) for room in (32, 64, _ROOM, 512)]
_LEAST_SLICE, _MOST_SLICES = 256, 64  # tiles of a slice of a weight gradient's reduction; slices

# The rule's estimate of microseconds, on an H200 whatever the card, so that all cards compute the same bits.
_MULTIPLIED = 128 * 1980  # by an SM's cores
_COPIED = 4.3e6  # bytes
_LAUNCH = 3  # from the end of one launch to where the next has filled the card
_AROUND = 16  # steps of a reduction that take as long as what a block does before and after it
_PAYS = 0.8  # of the time of a direct convolution


class _Plan(NamedTuple):
    """How a convolution is cut up.

    images : at a time.   tile : of the products.   slices : of each reduction, where a gradient of weights is made.
    """

    images: int
    tile: int
    slices: int
    us: float


class _Sizes(NamedTuple):
    """A convolution: images, channels of what is read and made, tiles down and across, pixels of each, dilation."""

    n: int
    c: int
    k: int
    down: int
    across: int
    read: int
    made: int
    dilation: tuple[int, int]

    @property
    def per_image(self) -> int:
        return self.across * self.down

    def shares(self, room: int) -> int:
        """How many images at a time: shares of nearly the same size."""
        whole = 4 * _PLACES * (self.c + self.k) * self.n * self.per_image
        return ceil_div(self.n, min(self.n, ceil_div(whole, room << 20)))


def fits(dtype: Any, window: Window, groups: int, n: int, c: int, k: int, *arrays: Any) -> bool:
    """Whether it is a convolution of this kind, and this algorithm is allowed."""
    w = window
    if not is_winograd_enabled() or dtype != np.float32 or groups != 1:
        return False
    if (w.R, w.S) != (3, 3) or w.stride != (1, 1) or min(n, w.P, w.Q, w.H, w.W) < 1:
        return False
    if c % _ALIGNED or k % _ALIGNED or max(w.P * w.Q, w.H * w.W) * max(c, k) > _MOST_NUMBERS:
        return False
    return all(vector_width(a.shape[-1], a) == _ALIGNED for a in arrays if a is not None)


def _forward_sizes(n: int, c: int, k: int, window: Window) -> _Sizes:
    w = window
    return _Sizes(n, c, k, *_tiles(w.P, w.Q, w.dilation), w.H * w.W, w.P * w.Q, w.dilation)


def _data_sizes(n: int, c: int, k: int, window: Window) -> _Sizes:
    w = window
    return _Sizes(n, k, c, *_tiles(w.H, w.W, w.dilation), w.P * w.Q, w.H * w.W, w.dilation)


def _tiles(height: int, width: int, dilation: tuple[int, int]) -> tuple[int, int]:
    """How many tiles of outputs there are down and across; with dilation they lie in between one another."""
    down, across = (
        step * ceil_div(ceil_div(length, step), _OUT) for length, step in zip((height, width), dilation, strict=True)
    )
    return down, across


def choose_forward(n: int, c: int, k: int, window: Window) -> Way:
    """The way of a forward pass: of this module if it pays, else (tile,)."""
    return _choose(_forward_sizes(n, c, k, window), (n * window.P * window.Q, k, _TAPS * c))


def choose_data(n: int, c: int, k: int, window: Window) -> Way:
    """The way of a data gradient, likewise."""
    return _choose(_data_sizes(n, c, k, window), (n * window.H * window.W, c, _TAPS * k))


@functools.lru_cache(maxsize=1024)
def _choose(sizes: _Sizes, product: tuple[int, int, int]) -> Way:
    rows, columns, depth = product
    way = (choose_tile(rows, columns),)
    direct = gemm.cost(rows, columns, depth, 1, (*way, 1)) / _MULTIPLIED + _LAUNCH
    return (WINOGRAD, _ROOM) if _plan(sizes, _ROOM).us < _PAYS * direct else way


@functools.lru_cache(maxsize=1024)
def choose_weight(n: int, c: int, k: int, window: Window) -> Way:
    """The way of a weight gradient: of this module if it pays, else (tile, slices)."""
    product = k, _TAPS * c, n * window.P * window.Q, 1
    way = gemm.choose_split(*product)
    direct = gemm.cost(*product, way) / _MULTIPLIED + _LAUNCH
    return (WINOGRAD, _ROOM) if _weight_plan(_forward_sizes(n, c, k, window), _ROOM).us < _PAYS * direct else way


@functools.lru_cache(maxsize=1024)
def _plan(sizes: _Sizes, room: int) -> _Plan:
    """Of a forward pass or a data gradient."""
    images = sizes.shares(room)
    turns, tiles, filters = ceil_div(sizes.n, images), images * sizes.per_image, sizes.c * sizes.k
    tile = choose_tile(tiles, sizes.k, _PLACES)
    each = gemm.cost(tiles, sizes.k, sizes.c + _AROUND, _PLACES, (tile, 1)) / _MULTIPLIED
    transformed = _PLACES * sizes.n * sizes.per_image * (sizes.c + sizes.k)
    numbers = transformed + sizes.n * (sizes.read * sizes.c + sizes.made * sizes.k) + (_PLACES + _TAPS) * filters
    return _Plan(images, tile, 1, turns * (each + 3 * _LAUNCH) + 4 * numbers / _COPIED + _LAUNCH)


@functools.lru_cache(maxsize=1024)
def _weight_plan(sizes: _Sizes, room: int) -> _Plan:
    images = sizes.shares(room)
    turns, tiles, filters = ceil_div(sizes.n, images), images * sizes.per_image, sizes.c * sizes.k
    # A batch of products has one length: slices are equally long, those of the last images too, which may be fewer.
    common = math.gcd(tiles, (sizes.n - (turns - 1) * images) * sizes.per_image)
    parts = [s for s in range(1, _MOST_SLICES + 1) if common % s == 0 and (s == 1 or tiles // s >= _LEAST_SLICE)]
    numbers = _PLACES * sizes.n * sizes.per_image * (sizes.c + sizes.k)
    numbers += sizes.n * (sizes.read * sizes.c + sizes.made * sizes.k) + _TAPS * filters

    def plan(slices: int) -> _Plan:
        tile, depth = choose_tile(sizes.k, sizes.c, _PLACES * slices), tiles // slices + _AROUND
        each = gemm.cost(sizes.k, sizes.c, depth, _PLACES * slices, (tile, 1)) / _MULTIPLIED + 3 * _LAUNCH
        moved = numbers + 2 * _PLACES * filters * slices * turns
        return _Plan(images, tile, slices, turns * each + 4 * moved / _COPIED + _LAUNCH)

    return min(map(plan, parts), key=lambda plan: plan.us)


# -- launches -------------------------------------------------------------------------------------


def forward(device: Device, way: Way, x: Any, weight: Any, window: Window, bias: Any, relu: bool) -> Any:
    """y of a convolution that fits."""
    (n, _, _, c), k = x.shape, weight.shape[0]
    y = device.empty((n, window.P, window.Q, k), x.dtype)
    filters = _filters(device, weight, turned=False)
    _convolve(device, way, _forward_sizes(n, c, k, window), (y, x, None), filters, "nt", window.padding, bias, relu)
    return y


def backward_data(
    device: Device, way: Way, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, more: Any
) -> Any:
    """The gradient of x, added to ``more`` unless that is None; dz is that of the output before its ReLU."""
    (n, _, _, c), k = x_shape, weight.shape[0]
    dx = device.empty(x_shape, dz.dtype)
    # An input's gradient is a convolution of dz by turned filters, which reach as far back as they reached forward.
    padding = 2 * window.dilation[0] - window.padding[0], 2 * window.dilation[1] - window.padding[1]
    filters = _filters(device, weight, turned=True)
    _convolve(device, way, _data_sizes(n, c, k, window), (dx, dz, more), filters, "nn", padding, None, False)
    return dx


def backward_weight(device: Device, way: Way, dz: Any, x: Any, weight: Any, window: Window) -> Any:
    """The gradient of weight."""
    (n, _, _, c), k = x.shape, weight.shape[0]
    sizes = _forward_sizes(n, c, k, window)
    plan = _weight_plan(sizes, way[1])
    slices, turns = plan.slices, ceil_div(n, plan.images)
    products = device.empty((turns, _PLACES * slices, k, c), x.dtype)
    room_dz, room_x = (_room(device, plan.images, sizes, channels) for channels in (k, c))
    for turn, images in enumerate(_turns(n, plan.images)):
        gradients = _transformed(device, "winograd_gradient", room_dz, dz[images], sizes, (0, 0))
        inputs = _transformed(device, "winograd_input", room_x, x[images], sizes, window.padding)
        depth = gradients.shape[1] // slices
        steps = depth * k, depth * c
        launch_batched(device, "tn", products[turn], gradients, inputs, (k, c, depth), steps, plan.tile)
    dweight = device.empty(weight.shape, x.dtype)
    threads = k * c // _VEC
    grid = (ceil_div(threads, _LANES), 1, 1)
    args = (dweight, products, divisor_struct(c // _VEC), turns, slices, threads)
    SOURCE.launch(device, "winograd_weight_gradient", grid, (_LANES, _PLACES, 1), args, REAL="float", VEC=_VEC)
    return dweight


def _turns(n: int, images: int) -> Iterator[slice]:
    return (slice(first, first + images) for first in range(0, n, images))


def _room(device: Device, images: int, sizes: _Sizes, channels: int) -> Any:
    """Memory for the transformed tiles of some images."""
    return device.empty((_PLACES * images * sizes.per_image * channels,), np.dtype(np.float32))


def _part(room: Any, tiles: int, channels: int) -> Any:
    return room[: _PLACES * tiles * channels].reshape(_PLACES, tiles, channels)


def _tiles_of(images: Any, sizes: _Sizes, padding: tuple[int, int]) -> tuple[Struct, int]:
    """``struct WinogradShape`` of images that are cut into tiles, and one thread for each of their vectors."""
    n, height, width, channels = images.shape
    vectors = channels // _VEC
    shape = _shape(height, width, channels, padding, sizes.dilation, (vectors, sizes.across, sizes.down))
    return shape, n * sizes.per_image * vectors


@functools.lru_cache(maxsize=1024)
def _shape(
    height: int,
    width: int,
    channels: int,
    padding: tuple[int, int],
    dilation: tuple[int, int],
    over: tuple[int, int, int],
) -> Struct:
    fields = height, width, channels, *padding, *(divisor(step) for step in dilation), spread(over)
    return Struct(np.array([fields], _SHAPE))


def _launch(device: Device, kernel: str, threads: int, args: tuple[Any, ...]) -> None:
    grid = (ceil_div(threads, _THREADS), 1, 1)
    SOURCE.launch(device, kernel, grid, _THREADS, (*args, threads), REAL="float", VEC=_VEC)


def _transformed(device: Device, kernel: str, room: Any, images: Any, sizes: _Sizes, padding: tuple[int, int]) -> Any:
    """The tiles of some images, (36, tiles, channels), in ``room``."""
    tiles = _part(room, len(images) * sizes.per_image, images.shape[3])
    shape, threads = _tiles_of(images, sizes, padding)
    _launch(device, kernel, threads, (tiles, images, shape))
    return tiles


def _filters(device: Device, weight: Any, turned: bool) -> Any:
    k, _, _, c = weight.shape
    filters = device.empty((_PLACES, k, c), weight.dtype)
    _launch(device, "winograd_filters", k * c // _VEC, (filters, weight, divisor_struct(c // _VEC), int(turned)))
    return filters


def _convolve(
    device: Device,
    way: Way,
    sizes: _Sizes,
    arrays: tuple[Any, Any, Any],
    filters: Any,
    form: str,
    padding: tuple[int, int],
    bias: Any,
    relu: bool,
) -> None:
    """arrays: y, x and what is added to y."""
    y, x, more = arrays
    plan = _plan(sizes, way[1])
    room_x, room_y = (_room(device, plan.images, sizes, channels) for channels in (sizes.c, sizes.k))
    for images in _turns(sizes.n, plan.images):
        tiles = _transformed(device, "winograd_input", room_x, x[images], sizes, padding)
        count = tiles.shape[1]
        products = _part(room_y, count, sizes.k)
        steps = count * sizes.c, sizes.c * sizes.k
        launch_batched(device, form, products, tiles, filters, (count, sizes.k, sizes.c), steps, plan.tile)
        shape, threads = _tiles_of(y[images], sizes, (0, 0))
        waiting = None if more is None else more[images]
        _launch(device, "winograd_output", threads, (y[images], products, bias, waiting, shape, int(relu)))
