"""Average pooling (``kernels/avg_pool2d.cu``): the mean of each window, and its gradient.

A window's sum is the sum over its columns of the sums over its rows: R + S additions per output
instead of R S, and correspondingly fewer roundings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._shared.numbers import as_int
from gpunn._shared.pooling import check_images, image_window
from gpunn._tensor import Tensor
from gpunn._window import Pair, Taps, Window, taps
from gpunn.cpu import memory, threads
from gpunn.cpu.pooling import average_small, fill_images, image_blocks, is_small, shares, sum_images
from gpunn.errors import UsageError, here
from gpunn.gpu.launcher import DIVISOR, KernelSource, divisor
from gpunn.gpu.launches import Struct
from gpunn.gpu.windows import DECLARED, SPREAD, launch_backward, launch_windows, spread
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("avg_pool2d.cu", **DECLARED)
_INT_FIELDS = ("H", "W", "C", "P", "Q", "R", "S", "stride_h", "stride_w", "pad_h", "pad_w", "count_pad", "divisor")
_SHAPE = np.dtype(
    [(f, np.int32) for f in _INT_FIELDS] + [("over", SPREAD)] + [(f, DIVISOR) for f in ("by_stride_h", "by_stride_w")]
)
Empty = Callable[..., Any]  # empty(shape, dtype), uninitialised


# -- primitives -----------------------------------------------------------------------------------


@primitive(returns=("y",))
def avg_pool2d_forward(xp: Any, x: Any, window: Window, count_include_pad: bool, divisor: int) -> Any:
    """y[n,p,q,c] = the sum of x over window (p, q) / its number of elements, or / divisor if that is not 0.

    x (N, H, W, C);  y (N, P, Q, C). Elements of the padding are 0, and are counted if
    ``count_include_pad``; those beyond the padding, which ceil_mode allows, are not.
    """
    y = xp.empty((len(x), window.P, window.Q, x.shape[3]), x.dtype)
    _forward(xp, x, window, _divisors(window, count_include_pad, divisor), xp.empty, y)
    return y


# -- along one axis -------------------------------------------------------------------------------


def _cut(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _gather(xp: Any, x: Any, axis: int, elements: Taps, out: Any) -> None:
    """out[p] = the sum of x over the window's elements, along an axis."""
    parts = [(out[_cut(axis, to)], x[_cut(axis, at)]) for to, at in elements]
    rest = 0
    if all(target.shape == out.shape for target, _ in parts[:2]):  # no padding here: the first sum writes
        rest = min(len(parts), 2)
        if rest == 1:
            out[...] = parts[0][1]
        else:
            xp.add(parts[0][1], parts[1][1], out=out)
    else:
        out[...] = 0
    for target, source in parts[rest:]:
        target += source


def _scatter(dy: Any, axis: int, elements: Taps, tiles: bool, out: Any) -> None:
    """The gradient of :func:`_gather`; ``tiles``: every input is in exactly one window."""
    if not tiles:
        out[...] = 0
    for to, at in elements:
        target, source = out[_cut(axis, at)], dy[_cut(axis, to)]
        if tiles:
            target[...] = source
        else:
            target += source


def _passes(window: Window) -> list[int]:
    """The axes (0: rows) along which a window has any effect: one element at stride 1 has none."""
    axes = ((0, window.H, window.P), (1, window.W, window.Q))
    return [a for a, n, p in axes if (window.R, window.S)[a] > 1 or n != p or window.padding[a]]


def _tiles(window: Window, axis: int) -> bool:
    n, outputs, k = ((window.H, window.P, window.R), (window.W, window.Q, window.S))[axis]
    return k == window.stride[axis] and n == outputs * k and window.padding[axis] == 0


@functools.lru_cache(maxsize=256)
def _divisors(window: Window, count_include_pad: bool, divisor: int) -> int | np.ndarray:
    """What each sum is divided by: one number, or (P, Q, 1) of them where windows hang over the edge."""
    if divisor:
        return divisor

    def lengths(axis: int, n: int, outputs: int, k: int) -> np.ndarray:
        pad = window.padding[axis]
        starts = np.arange(outputs) * window.stride[axis] - pad
        if count_include_pad:
            return np.minimum(starts + k, n + pad) - starts
        return np.minimum(starts + k, n) - np.maximum(starts, 0)

    counts = np.outer(lengths(0, window.H, window.P, window.R), lengths(1, window.W, window.Q, window.S))
    return int(counts.flat[0]) if (counts == counts.flat[0]).all() else counts[:, :, None]


def _divide(xp: Any, sums: Any, counts: int | np.ndarray, out: Any) -> None:
    """out = sums / counts in their own dtype."""
    by = sums.dtype.type(counts) if isinstance(counts, int) else xp.asarray(counts, sums.dtype)
    xp.divide(sums, by, out=out)


def _forward(xp: Any, x: Any, window: Window, counts: int | np.ndarray, empty: Empty, y: Any) -> None:
    axes = _passes(window)
    source = x
    for axis in axes:
        target = y if axis == axes[-1] else empty((len(x), window.P, *x.shape[2:]), x.dtype)
        _gather(xp, source, axis + 1, taps(window, axis), target)
        source = target
    _divide(xp, source, counts, y)


def _backward(xp: Any, dy: Any, window: Window, counts: int | np.ndarray, empty: Empty, dx: Any) -> None:
    axes = _passes(window)[::-1]
    source = empty(dy.shape, dy.dtype) if axes else dx
    _divide(xp, dy, counts, source)
    for axis in axes:
        target = dx if axis == axes[-1] else empty((len(dy), window.P, *dx.shape[2:]), dy.dtype)
        _scatter(source, axis + 1, taps(window, axis), _tiles(window, axis), target)
        source = target


def _is_whole(window: Window) -> bool:
    """Whether there is one window, the whole image."""
    return (window.R, window.S, *window.padding) == (window.H, window.W, 0, 0)


def _matrix(window: Window, counts: int | np.ndarray) -> np.ndarray:
    """The weight of pixel h W + w in output p Q + q."""

    def seen(axis: int, n: int, outputs: int, k: int) -> tuple[tuple[int, int], ...]:
        starts = [o * window.stride[axis] - window.padding[axis] for o in range(outputs)]
        return tuple((max(start, 0), min(start + k, n)) for start in starts)

    rows, columns = seen(0, window.H, window.P, window.R), seen(1, window.W, window.Q, window.S)
    by = counts if isinstance(counts, int) else counts.reshape(-1, 1)
    return np.asarray(shares(rows, columns, window.H, window.W) / by)


def _scratch() -> Empty:
    """Scratch memory that this thread keeps, each array under its own name."""
    names = iter(("avg_pool2d 0", "avg_pool2d 1"))
    return lambda shape, dtype: threads.scratch.array(next(names), shape, dtype)


@avg_pool2d_forward.numpy
def _(x: np.ndarray, window: Window, count_include_pad: bool, divisor: int) -> np.ndarray:
    y = memory.empty((len(x), window.P, window.Q, x.shape[3]), x.dtype)
    counts = _divisors(window, count_include_pad, divisor)
    if _is_whole(window):
        sum_images(x, y)
        _divide(np, y, counts, y)
        return y
    if is_small(window.H * window.W, window.P * window.Q) and average_small(_matrix(window, counts), x, y):
        return y
    threads.run(lambda part: _forward(np, x[part], window, counts, _scratch(), y[part]), image_blocks(x))
    return y


@avg_pool2d_forward.kernel(stored=("x",))
def _(device: Device, x: Any, window: Window, count_include_pad: bool, divisor: int) -> Any:
    n, _, _, c = x.shape
    y = device.empty((n, window.P, window.Q, c), x.dtype)
    geometry = functools.partial(_kernel_shape, c, window, count_include_pad, divisor)
    launch_windows(SOURCE, "avg_pool2d_forward", device, (y,), x, geometry, window.R * window.S)
    return y


@functools.lru_cache(maxsize=256)
def _kernel_shape(c: int, window: Window, count_include_pad: bool, by: int, over: tuple[int, int, int]) -> Struct:
    """``struct AvgPool2dShape`` for threads or blocks spread over (N, height, width, channels)."""
    w = window
    numbers = (w.H, w.W, c, w.P, w.Q, w.R, w.S, *w.stride, *w.padding, count_include_pad, by)
    return Struct(np.array([(*numbers, spread(over), *(divisor(step) for step in w.stride))], _SHAPE))


@primitive(returns=("dx",))
def avg_pool2d_backward(xp: Any, dy: Any, window: Window, count_include_pad: bool, divisor: int) -> Any:
    """dx (N, H, W, C): each element of a window gets an equal share of its dy."""
    dx = xp.empty((len(dy), window.H, window.W, dy.shape[3]), dy.dtype)
    _backward(xp, dy, window, _divisors(window, count_include_pad, divisor), xp.empty, dx)
    return dx


@avg_pool2d_backward.numpy
def _(dy: np.ndarray, window: Window, count_include_pad: bool, divisor: int) -> np.ndarray:
    dx = memory.empty((len(dy), window.H, window.W, dy.shape[3]), dy.dtype)
    counts = _divisors(window, count_include_pad, divisor)
    if _is_whole(window):
        share = memory.empty_like(dy)
        _divide(np, dy, counts, share)
        fill_images(share, dx)
        return dx
    if is_small(window.H * window.W, window.P * window.Q) and average_small(_matrix(window, counts).T, dy, dx):
        return dx
    threads.run(lambda part: _backward(np, dy[part], window, counts, _scratch(), dx[part]), image_blocks(dx))
    return dx


@avg_pool2d_backward.kernel(stored=("dy",))
def _(device: Device, dy: Any, window: Window, count_include_pad: bool, divisor: int) -> Any:
    n, _, _, c = dy.shape
    dx = device.empty((n, window.H, window.W, c), dy.dtype)
    geometry = functools.partial(_kernel_shape, c, window, count_include_pad, divisor)
    launch_backward(SOURCE, "avg_pool2d_backward", device, dx, (dy,), geometry)
    return dx


# -- public op ------------------------------------------------------------------------------------


def avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    strict: bool = False,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    kernel_size, stride, padding : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given. Padding is zeros, at most
        half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    divisor_override : int, optional
        Divide the sums by this instead of the number of elements.
    strict : bool
        Raise if rows or columns at the border are in no window, instead of leaving them out.

    Returns
    -------
    Tensor, (N, C, P, Q) or (C, P, Q)
        P = floor((H + 2 padding - kernel) / stride) + 1.

    Raises
    ------
    ShapeError
        If x has other axes or the window does not fit.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> avg_pool2d(gpunn.arange(4.0).reshape(1, 1, 2, 2), 2).tolist()
    [[[[1.5]]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "avg_pool2d"
    if x.ndim == 3:
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return avg_pool2d(x.unsqueeze(0), *options, strict=strict).squeeze(0)
    check_images(op, x)
    divisor = checked_divisor(op, divisor_override)
    window = image_window(op, x.shape[2:], kernel_size, stride, padding, 1, ceil_mode, strict)
    return pool_average(op, x, x._physical, window, count_include_pad, divisor)


def checked_divisor(op: str, given: Any) -> int:
    """An integer other than 0, or 0 for None; UsageError otherwise."""
    divisor = 0 if given is None else as_int(given, 0)
    if given is not None and not divisor:
        raise UsageError(f"{here(op)}: divisor_override: expected an integer other than 0; got {given!r}.")
    return int(divisor)


def pool_average(op: str, x: Tensor, images: Any, window: Window, count_include_pad: bool, divisor: int = 0) -> Tensor:
    """The pooling of x, viewed as physical ``images`` (M, H, W, C), recorded."""
    device, shape = x.device, x._physical.shape
    y = avg_pool2d_forward(device, images, window, count_include_pad, divisor)
    pooled = y.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dx = avg_pool2d_backward(device, dy.reshape(pooled), window, count_include_pad, divisor)
        return (dx.reshape(shape),)

    # A sequence (N, C, L) arrived as N C images; its outputs are (N, C, P).
    y = y if x.ndim == 4 else y.reshape(*shape[:2], window.P)
    return record(op, y, device, (x,), backward)
