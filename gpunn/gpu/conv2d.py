"""Which kernels compute a convolution, by its shape alone, and the launches of ``kernels/conv2d.cu``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._window import Window, is_plain_product
from gpunn.errors import UsageError
from gpunn.gpu import conv2d_first, conv2d_narrow, conv2d_winograd
from gpunn.gpu.choices import Facts, Way, best
from gpunn.gpu.conv2d_geometry import phases, pixel_steps, refuse_too_many
from gpunn.gpu.conv2d_winograd import WINOGRAD, choose_data, choose_forward, choose_weight
from gpunn.gpu.gemm import (
    APART,
    TILES,
    at_once,
    choose_shared,
    choose_split,
    choose_tile,
    count_tiles,
    shared_ways,
    split_buffers,
    tiles_of,
    ways_of,
)
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct

SOURCE = KernelSource("conv2d.cu", REAL=("float", "double"), VEC=(1, 2, 4), TILE=(32, 64, 128))
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [(f"{name}_{axis}", np.int32) for name in ("stride", "pad", "dilation") for axis in "hw"]
    + [("group_C", np.int32), ("group_K", np.int32), ("phase_H", np.int32), ("phase_W", np.int32)]
    + [(f"{name}_{axis}", np.int32) for name in ("step", "reach") for axis in "hw"]
    + [(f"by_{name}", DIVISOR) for name in ("P", "Q", "S", "group_C", "group_K", "phase_H", "phase_W")]
    + [("by_phase_S", DIVISOR), ("by_short_phase_S", DIVISOR)]
)


def choose(weight_shape: tuple[int, ...], groups: int, window: Window, itemsize: int, back: bool) -> str:
    """What computes a forward pass, or ``back`` the weight gradient.

    "narrow": ``conv2d_narrow``; "first": ``conv2d_first``; "product": matrix products of ``matmul``; "tiled":
    this module. For the data gradient of images with few channels ``conv2d_first_data`` is asked first.
    """
    if conv2d_narrow.takes(weight_shape, groups):
        return "narrow"
    if conv2d_first.takes(weight_shape, groups, window, itemsize, back):
        return "first"
    return "product" if is_plain_product(window, groups) else "tiled"


@functools.lru_cache(maxsize=1024)
def shape_struct(n: int, c: int, k: int, window: Window, groups: int) -> Struct:
    """``struct Conv2dShape``."""
    w = window
    refuse_too_many(n, c, k, w)
    refuse_wide(n, c, k, w, groups)
    sizes = (n, w.H, w.W, c, k, w.R, w.S, w.P, w.Q, *w.stride, *w.padding, *w.dilation, c // groups, k // groups)
    # Pixels a stride apart (a phase) are read by the filter elements that are a multiple of the stride apart.
    phase = _phase_pixels(w)
    step, reach = phases(w)
    most = ceil_div(w.S, step[1])
    divisors = (w.P, w.Q, w.S, c // groups, k // groups, *phase, most, most - 1)
    return Struct(np.array([(*sizes, *phase, *step, *reach, *(divisor(max(1, d)) for d in divisors))], _SHAPE))


def refuse_wide(n: int, c: int, k: int, window: Window, groups: int) -> None:
    """Raise if a step of a reduction goes further than an int counts: in a filter, a window, from pixel to pixel."""
    w = window
    (step, reach), line = phases(w), w.W * c
    rows, columns = (ceil_div(length, by) - 1 for length, by in zip((w.R, w.S), step, strict=True))
    numbers = max(
        k // groups * w.R * w.S * (c // groups),
        (w.R - 1) * w.dilation[0] * line + ((w.S - 1) * w.dilation[1] + 1) * c,
        (rows * reach[0] * w.Q + columns * reach[1] + 1) * k,
        *(_furthest(n, c, w, ahead) for ahead in (8, 16, 32)),
    )
    if numbers >= 2**31:
        raise UsageError(
            f"conv2d: {k} filters of {w.R} x {w.S}, their windows, or a step within {n} images of {w.H} x {w.W} "
            f"with {c} channels span {numbers} numbers; kernels count at most 2^31 - 1. Use smaller images or filters, "
            "or fewer channels."
        )


def _furthest(n: int, c: int, window: Window, ahead: int) -> int:
    """The most numbers between the windows' corners of an output pixel and that ``ahead`` further on."""
    w = window
    lines, right = divmod(ahead, w.Q)
    images, down = divmod(lines, w.P)
    found = [0]
    for turns, over in ((0, right), (1, right - w.Q)):
        for image, rest in ((images, down + turns), (images + 1, down + turns - w.P)):
            if image < n and abs(rest) < w.P and abs(over) < w.Q:  # else there is no such pair of pixels
                found.append(abs(((image * w.H + rest * w.stride[0]) * w.W + over * w.stride[1]) * c))
    return max(found)


def _phase_pixels(window: Window) -> tuple[int, int]:
    """The most rows and columns of the input in one phase."""
    return ceil_div(window.H, window.stride[0]), ceil_div(window.W, window.stride[1])


def phases_of(window: Window, n: int) -> tuple[int, int]:
    """How many phases there are, and the rows of each one's product."""
    rows, columns = _phase_pixels(window)
    return min(window.stride[0], window.H) * min(window.stride[1], window.W), n * rows * columns


def _launch(
    device: Device, kernel: str, args: tuple[Any, ...], grid: tuple[int, int, int], vec: int, tile: int
) -> None:
    SOURCE.launch(device, kernel, grid, TILES[tile][2], args, REAL=c_type(args[0].dtype, kernel), VEC=vec, TILE=tile)


def _ahead(tile: int, vec: int, dtype: Any) -> int:
    """BK in gemm_tile.cuh: steps of a reduction at a time."""
    return min((64 if tile == 128 else 128) // int(dtype.itemsize), 8 * vec)


def _vector(length: int, *arrays: Any) -> int:
    return vector_width(length, *arrays, widths=(4, 2, 1))


def facts(n: int, c: int, k: int, window: Window, groups: int, dtype: Any) -> Facts:
    """What the time of a convolution depends on, but for the width of vectors."""
    w = window
    sizes = (n, c, w.H, w.W, k, w.R, w.S, w.P, w.Q)
    return (*sizes, *w.stride, *w.padding, *w.dilation, groups, dtype.name)


def forward(
    device: Device, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool, way: Way | None = None
) -> Any:
    """Like the kernel body of ``conv2d_forward``; ``way``: (tile,), or one of ``conv2d_winograd``, to take no other."""
    n, _, _, c = x.shape
    k, _, _, depth = weight.shape
    rows, columns = n * window.P * window.Q, k // groups
    vec = _vector(depth, x, weight)

    def run(way: Way) -> Any:
        if way[0] == WINOGRAD:
            return conv2d_winograd.forward(device, way, x, weight, window, bias, relu)
        y = device.empty((n, window.P, window.Q, k), x.dtype)
        args = (y, x, weight, bias, shape_struct(n, c, k, window, groups), int(relu))
        grid = (count_tiles(rows, columns, way[0]), 1, groups)
        _launch(device, "conv2d_forward", args, grid, vec, way[0])
        return y

    if way is not None:
        return run(way)
    known = (*facts(n, c, k, window, groups, x.dtype), vec)
    rule: Way = (choose_tile(rows, columns, groups),)
    others: list[Way] = [(tile,) for tile in tiles_of(rows, columns)]
    if conv2d_winograd.fits(x.dtype, window, groups, n, c, k, x, weight, bias):
        rule, others = choose_forward(n, c, k, window), [*others, *conv2d_winograd.WAYS]
    return best(device, SOURCE, "conv2d_forward", known, rule, lambda: others, run)


def backward_weight(
    device: Device,
    dy: Any,
    y: Any,
    x: Any,
    weight: Any,
    window: Window,
    groups: int,
    wants_bias: bool,
    wants_dz: bool,
    gated: Callable[[], tuple[Any, Any]],
) -> tuple[Any, Any, Any]:
    """(dweight, dbias or None, dz where it is wanted); dz is dy itself without a ReLU.

    ``gated()`` gives dz and dbias by a launch of its own, for ways that read dz as it is.
    """
    n, _, _, c = x.shape
    k, r, s, depth = weight.shape
    columns, pixels = r * s * depth, n * window.P * window.Q

    def run(way: Way) -> tuple[Any, Any, Any]:
        if way[0] == WINOGRAD:
            dz, dbias = gated()
            return conv2d_winograd.backward_weight(device, way, dz, x, weight, window), dbias, dz
        tile, slices = way
        dweight = device.empty(weight.shape, x.dtype)
        dbias = device.empty((k,), x.dtype) if wants_bias else None
        dz = device.empty(dy.shape, x.dtype) if y is not None and wants_dz else None
        tiles = count_tiles(k // groups, columns, tile)
        buffers = split_buffers(device, x.dtype, tiles * groups, slices, tile)
        steps = pixel_steps(c, window, _ahead(tile, vec, x.dtype))
        shape = shape_struct(n, c, k, window, groups)
        args = (dweight, dbias, dz, *buffers, dy, y, x, shape, steps, slices)
        _launch(device, "conv2d_backward_weight", args, (tiles, 1, groups * slices), vec, tile)
        return dweight, dbias, dy if dz is None else dz

    vec = min(_vector(k // groups, dy, y), _vector(depth, x))  # along dy's channels, and along x's
    known = (*facts(n, c, k, window, groups, x.dtype), vec, int(y is not None))
    sizes = k // groups, columns, pixels, groups
    rule, others = choose_split(*sizes), ways_of(*sizes)
    if conv2d_winograd.fits(x.dtype, window, groups, n, c, k, dy, y, x, weight):
        rule, others = choose_weight(n, c, k, window), [*others, *conv2d_winograd.WAYS]
    return best(device, SOURCE, "conv2d_backward_weight", known, rule, lambda: others, run)


def backward_data(
    device: Device, dz: Any, weight: Any, x_shape: tuple[int, ...], window: Window, groups: int, more: Any
) -> Any:
    """The gradient of x, added to ``more`` unless that is None; dz is that of the output before its ReLU."""
    n, _, _, c = x_shape
    k, _, _, depth = weight.shape
    number, rows = phases_of(window, n)
    vec = min(_vector(k // groups, dz), _vector(depth, weight, more))

    def run(way: Way) -> Any:
        if way[0] == WINOGRAD:
            return conv2d_winograd.backward_data(device, way, dz, weight, x_shape, window, more)
        dx = device.empty(x_shape, dz.dtype)
        args = (dx, dz, weight, more, shape_struct(n, c, k, window, groups))
        grid = (number * count_tiles(rows, depth, way[0]), 1, groups)
        _launch(device, "conv2d_backward_data", args, grid, vec, way[0])
        return dx

    known = (*facts(n, c, k, window, groups, dz.dtype), vec)
    rule: Way = (choose_tile(rows, depth, groups * number),)
    others: list[Way] = [(tile,) for tile in tiles_of(rows, depth)]
    if conv2d_winograd.fits(dz.dtype, window, groups, n, c, k, dz, weight, more):
        rule, others = choose_data(n, c, k, window), [*others, *conv2d_winograd.WAYS]
    return best(device, SOURCE, "conv2d_backward_data", known, rule, lambda: others, run)


def backward(
    device: Device,
    dy: Any,
    y: Any,
    x: Any,
    weight: Any,
    window: Window,
    groups: int,
    wants_bias: bool,
    more: Any,
    apart: Callable[[], tuple[Any, Any, Any]],
) -> tuple[Any, Any, Any]:
    """(dx, dweight, dbias or None) by one launch, or ``apart()`` where that does not pay."""
    n, _, _, c = x.shape
    k, r, s, depth = weight.shape
    number, rows = phases_of(window, n)
    columns, pixels = r * s * depth, n * window.P * window.Q
    vec = min(_vector(k // groups, dy, y), _vector(depth, x, weight, more))

    def run(way: Way) -> tuple[Any, Any, Any]:
        if way == APART:
            return apart()
        tile, _, slices = way
        dx, dweight = device.empty(x.shape, x.dtype), device.empty(weight.shape, x.dtype)
        dbias = device.empty((k,), x.dtype) if wants_bias else None
        tiles = count_tiles(k // groups, columns, tile)
        buffers = split_buffers(device, x.dtype, tiles * groups, slices, tile)
        steps = pixel_steps(c, window, _ahead(tile, vec, x.dtype))
        shape = shape_struct(n, c, k, window, groups)
        args = (dweight, dbias, dx, *buffers, dy, y, x, weight, more, shape, steps, slices)
        grid = (tiles * slices + number * count_tiles(rows, depth, tile), 1, groups)
        _launch(device, "conv2d_backward", args, grid, vec, tile)
        return dx, dweight, dbias

    of_data = rows, depth, ceil_div(r * s, number) * (k // groups), groups * number, 1
    products = of_data, (k // groups, columns, pixels, groups, max(1, pixels))
    # With vectors, one kernel for both leaves an SM as many blocks as each alone (6 to 20 registers more). But a large
    # product is best with the tile that suits it. Behind a ReLU it also reads dy and y for every filter element, where
    # a launch of its own reads the dz that the other wrote. So one launch pays only while launching takes the time.
    rule = choose_shared(products)
    if y is not None and rule != APART and not at_once(number * groups * count_tiles(rows, depth, rule[0]), rule[0]):
        rule = APART
    by_winograd = conv2d_winograd.fits(x.dtype, window, groups, n, c, k, dy, y, x, weight, more)
    if by_winograd and WINOGRAD in (choose_data(n, c, k, window)[0], choose_weight(n, c, k, window)[0]):
        rule = APART
    known = (*facts(n, c, k, window, groups, x.dtype), vec, int(y is not None))
    return best(device, SOURCE, "conv2d_backward", known, rule, lambda: shared_ways(products), run)
