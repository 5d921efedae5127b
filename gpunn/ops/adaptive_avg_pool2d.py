"""Adaptive average pooling (``kernels/adaptive_avg_pool2d.cu``): windows chosen so that the output has a given size.

With size 1 it is the global mean. Output p of P averages rows floor(p H / P) to ceil((p + 1) H / P). Where P does
not divide H, windows overlap and their lengths differ by one; where it does, they are ``avg_pool2d``'s.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._shared.pooling import OutputSize, check_images, output_sizes
from gpunn._tensor import Tensor
from gpunn._window import Window, segments
from gpunn.cpu import memory, threads
from gpunn.cpu.pooling import average_small, fill_images, image_blocks, is_small, shares, sum_images
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.gpu.windows import DECLARED, adaptive_windows, launch_backward, launch_global_backward, launch_windows
from gpunn.ops.avg_pool2d import pool_average
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("adaptive_avg_pool2d.cu", **DECLARED)
_SCRATCH = "adaptive_avg_pool2d"
_FEW, _WIDE = 32, 16  # up to _FEW rows or columns, of at least _WIDE numbers each, are added one by one


# -- forward --------------------------------------------------------------------------------------


@primitive(returns=("y",))
def adaptive_avg_pool2d_forward(xp: Any, x: Any, size: tuple[int, int]) -> Any:
    """y[n,p,q,c] = the mean of x over rows p and columns q; x (N, H, W, C), y (N, P, Q, C)."""
    n, h, w, c = x.shape
    y, tall = xp.empty((n, *size, c), x.dtype), xp.empty((n, size[0], w, c), x.dtype)
    _average(x, _counts(xp, h, w, size, x.dtype), tall, y)
    return y


def _counts(xp: Any, height: int, width: int, size: tuple[int, int], dtype: Any) -> Any:
    """How many elements each window has, (P, Q, 1)."""
    rows, columns = (
        xp.asarray([stop - start for start, stop in segments(n, outputs)], dtype)
        for n, outputs in zip((height, width), size, strict=True)
    )
    return rows[:, None, None] * columns[:, None]


def _average(x: Any, counts: Any, tall: Any, y: Any) -> None:
    """Write y; ``tall`` (N, P, W, C) is scratch for the sums over rows."""
    for p, rows in enumerate(segments(x.shape[1], y.shape[1])):
        _add_up(x, 1, rows, tall[:, p])
    for q, columns in enumerate(segments(x.shape[2], y.shape[2])):
        _add_up(tall, 2, columns, y[:, :, q])
    y /= counts


def _add_up(x: Any, axis: int, part: tuple[int, int], out: Any) -> None:
    """out = the sum of a part of x along an axis: a few large additions, where ``sum`` would make many small ones."""
    start, stop = part
    if stop - start > _FEW or math.prod(x.shape[axis + 1 :]) < _WIDE:
        x[_cut(axis, slice(start, stop))].sum(axis=axis, out=out)
        return
    out[...] = x[_cut(axis, start)]
    for line in range(start + 1, stop):
        out += x[_cut(axis, line)]


def _cut(axis: int, part: int | slice) -> tuple[int | slice, ...]:
    return (slice(None),) * axis + (part,)


@adaptive_avg_pool2d_forward.numpy
def _(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    n, h, w, c = x.shape
    y, counts = memory.empty((n, *size, c), x.dtype), _counts(np, h, w, size, x.dtype)
    if size == (1, 1):
        sum_images(x, y)
        y /= counts
        return y
    if is_small(h * w, size[0] * size[1]) and average_small(_matrix(h, w, size), x, y):
        return y

    def task(part: slice) -> None:
        block = x[part]
        tall = threads.scratch.array(_SCRATCH, (len(block), size[0], w, c), x.dtype)
        _average(block, counts, tall, y[part])

    threads.run(task, image_blocks(x))
    return y


def _matrix(height: int, width: int, size: tuple[int, int]) -> np.ndarray:
    """The weight of pixel h W + w in output p Q + q."""
    seen = shares(segments(height, size[0]), segments(width, size[1]), height, width)
    return np.asarray(seen / seen.sum(axis=1, keepdims=True))


@adaptive_avg_pool2d_forward.kernel(stored=("x",))
def _(device: Device, x: Any, size: tuple[int, int]) -> Any:
    n, *image = x.shape
    y = device.empty((n, *size, image[2]), x.dtype)
    most = ceil_div(image[0], size[0]) * ceil_div(image[1], size[1])
    geometry = functools.partial(adaptive_windows, tuple(image), size)
    launch_windows(SOURCE, "adaptive_avg_pool2d_forward", device, (y,), x, geometry, most)
    return y


# -- backward -------------------------------------------------------------------------------------


@primitive(returns=("dx",))
def adaptive_avg_pool2d_backward(xp: Any, dy: Any, height: int, width: int) -> Any:
    """dx (N, H, W, C): each element of a window gets an equal share of its dy."""
    n, p, q, c = dy.shape
    dx, tall = xp.empty((n, height, width, c), dy.dtype), xp.empty((n, p, width, c), dy.dtype)
    _share(dy / _counts(xp, height, width, (p, q), dy.dtype), tall, dx)
    return dx


def _share(share: Any, tall: Any, dx: Any) -> None:
    """Write dx from each output's ``share``; ``tall`` (N, P, W, C) is scratch for what rows are given."""
    for (start, stop), (first, last) in _runs(tall.shape[2], share.shape[2]):
        tall[:, :, start:stop] = share[:, :, first : first + 1]
        for q in range(first + 1, last):
            tall[:, :, start:stop] += share[:, :, q : q + 1]
    for (start, stop), (first, last) in _runs(dx.shape[1], tall.shape[1]):
        dx[:, start:stop] = tall[:, first : first + 1]
        for p in range(first + 1, last):
            dx[:, start:stop] += tall[:, p : p + 1]


@functools.lru_cache(maxsize=256)
def _runs(n: int, outputs: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Runs of inputs that the same outputs read: ((start, stop), (first output, after the last))."""
    seen = segments(outputs, n)  # input i's outputs: with the roles of inputs and outputs swapped
    edges = [0, *(i for i in range(1, n) if seen[i] != seen[i - 1]), n]
    return [((start, stop), seen[start]) for start, stop in itertools.pairwise(edges)]


@adaptive_avg_pool2d_backward.numpy
def _(dy: np.ndarray, height: int, width: int) -> np.ndarray:
    n, p, q, c = dy.shape
    dx, counts = memory.empty((n, height, width, c), dy.dtype), _counts(np, height, width, (p, q), dy.dtype)
    if p == q == 1:
        fill_images(dy / counts, dx)
        return dx
    if is_small(height * width, p * q) and average_small(_matrix(height, width, (p, q)).T, dy, dx):
        return dx

    def task(part: slice) -> None:
        block = dx[part]
        _share(dy[part] / counts, threads.scratch.array(_SCRATCH, (len(block), p, width, c), dy.dtype), block)

    threads.run(task, image_blocks(dx))
    return dx


@adaptive_avg_pool2d_backward.kernel(stored=("dy",))
def _(device: Device, dy: Any, height: int, width: int) -> Any:
    n, p, q, c = dy.shape
    dx = device.empty((n, height, width, c), dy.dtype)
    if p == q == 1 and launch_global_backward(SOURCE, "adaptive_avg_pool2d_backward_global", device, dx, dy):
        return dx
    geometry = functools.partial(adaptive_windows, (height, width, c), (p, q))
    launch_backward(SOURCE, "adaptive_avg_pool2d_backward", device, dx, (dy,), geometry)
    return dx


# -- public op ------------------------------------------------------------------------------------


def adaptive_avg_pool2d(x: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of P x Q windows that cover the image; with one window, the global mean.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    output_size : int, None, or two of them
        P and Q, or one number for both; None keeps the input's size. They may be larger than it.

    Returns
    -------
    Tensor, (N, C, P, Q) or (C, P, Q)
        Output p averages rows floor(p H / P) to ceil((p + 1) H / P), columns likewise.

    Raises
    ------
    ShapeError
        If x has other axes.
    UsageError, DTypeError
        If the size is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.arange(6.0).reshape(1, 1, 2, 3)
    >>> adaptive_avg_pool2d(x, 1).item()
    2.5
    >>> adaptive_avg_pool2d(x, (1, None)).tolist()
    [[[[1.5, 2.5, 3.5]]]]

    References
    ----------
    Lecture topic L15; global average pooling: Lin, Chen, Yan 2013, arXiv:1312.4400.
    """
    op = "adaptive_avg_pool2d"
    if x.ndim == 3:
        return adaptive_avg_pool2d(x.unsqueeze(0), output_size).squeeze(0)
    check_images(op, x)
    p, q = output_sizes(op, output_size, x.shape[2:])
    return average_adaptively(op, x, x._physical, (p, q))


def average_adaptively(op: str, x: Tensor, images: Any, size: tuple[int, int]) -> Tensor:
    """The pooling of x, viewed as physical ``images`` (M, H, W, C), recorded."""
    device, shape, (height, width) = x.device, x._physical.shape, images.shape[1:3]
    kernel = height // size[0], width // size[1]
    if size != (1, 1) and (kernel[0] * size[0], kernel[1] * size[1]) == (height, width):  # windows of one size
        return pool_average(op, x, images, Window(height, width, *kernel, kernel, (0, 0), (1, 1)), True)
    y = adaptive_avg_pool2d_forward(device, images, size)
    pooled = y.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (adaptive_avg_pool2d_backward(device, dy.reshape(pooled), height, width).reshape(shape),)

    # A sequence (N, C, L) arrived as N C images; its outputs are (N, C, P).
    y = y if x.ndim == 4 else y.reshape(*shape[:2], size[0])
    return record(op, y, device, (x,), backward)
