"""Max pooling (``kernels/max_pool2d.cu``): the largest element of each window, and its way back."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, where
from gpunn.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.ops._masking import keep_where
from gpunn.ops.geometry import Pair, Window, pair
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("max_pool2d.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256
_INT_FIELDS = ("N", "H", "W", "C", "P", "Q", "R", "S")
_PAIR_FIELDS = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w")
_DIVISORS = ("by_channels", "by_width", "by_height")
_SHAPE = np.dtype([(f, np.int32) for f in _INT_FIELDS + _PAIR_FIELDS] + [(f, DIVISOR) for f in _DIVISORS])


# -- forward --------------------------------------------------------------------------------------


def _windows(rng: np.random.Generator) -> list[tuple[np.ndarray, Window]]:
    def case(n: int, h: int, w: int, c: int, *args: Any, dtype: Any = np.float32) -> tuple[np.ndarray, Window]:
        x = rng.integers(-4, 5, (n, h, w, c)).astype(dtype)  # few values: ties are common
        return x, Window(h, w, *args)

    cases = [
        case(2, 6, 6, 4, 2, 2, (2, 2), (0, 0), (1, 1)),
        case(1, 7, 5, 3, 3, 3, (2, 2), (1, 1), (1, 1)),
        case(2, 7, 8, 8, 3, 2, (1, 3), (1, 0), (2, 1)),
        case(1, 6, 6, 5, 3, 3, (2, 2), (0, 0), (1, 1), True),
        case(0, 4, 4, 2, 2, 2, (2, 2), (0, 0), (1, 1)),
        case(2, 5, 5, 4, 2, 2, (2, 2), (0, 0), (1, 1), dtype=np.float64),
    ]
    cases[1][0].flat[::7] = np.nan
    cases[1][0].flat[1::5] = -np.inf
    return cases


def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x, "window": window} for x, window in _windows(rng)]


@primitive(examples=_forward_examples, returns=("y", "offset"))
def max_pool2d_forward(xp: Any, x: Any, window: Window) -> tuple[Any, Any]:
    """y[n,p,q,c] = max over window (p, q) of x; offset = r * S + s of the first maximum, uint8.

    x (N, H, W, C);  y, offset (N, P, Q, C). A NaN wins over everything, the last NaN over earlier ones.
    """
    n, _, _, c = x.shape
    y = xp.full((n, window.P, window.Q, c), -np.inf, x.dtype)
    offset = xp.zeros(y.shape, np.uint8)
    seen = xp.zeros((1, window.P, window.Q, 1), bool)  # whether an element of the window lay in the image
    for r in range(window.R):
        for s in range(window.S):
            out, source = _tap(window, r, s)
            u = x[source]
            wins = (u > y[out]) | (u != u) | ~seen[:, out[1], out[2]]
            y[out] = xp.where(wins, u, y[out])
            offset[out] = xp.where(wins, np.uint8(r * window.S + s), offset[out])
            seen[:, out[1], out[2]] = True
    return y, offset


def _tap(window: Window, r: int, s: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The outputs for which window element (r, s) lies in the image, and the inputs it then is."""
    rows_out, rows_in = _axis_tap(window.H, window.P, r, window.stride[0], window.padding[0], window.dilation[0])
    cols_out, cols_in = _axis_tap(window.W, window.Q, s, window.stride[1], window.padding[1], window.dilation[1])
    return (slice(None), rows_out, cols_out), (slice(None), rows_in, cols_in)


@functools.lru_cache(maxsize=4096)
def _axis_tap(n: int, outputs: int, k: int, stride: int, pad: int, dilation: int) -> tuple[slice, slice]:
    shift = k * dilation - pad  # output p reads input p * stride + shift
    first = max(0, ceil_div(-shift, stride))
    last = min(outputs - 1, (n - 1 - shift) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last + 1), slice(first * stride + shift, last * stride + shift + 1, stride)


@max_pool2d_forward.numpy
def _(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    n, _, _, c = x.shape
    y = np.empty((n, window.P, window.Q, c), x.dtype)
    offset = np.empty(y.shape, np.uint8)
    taps = [(r * window.S + s, *_tap(window, r, s)) for r in range(window.R) for s in range(window.S)]

    def task(images: slice) -> None:
        block, best, winner = x[images], y[images], offset[images]
        best[...] = -np.inf
        winner[...] = 0
        for code, out, source in taps:
            # Codes rise, so the last element that beat all before it has the largest: a maximum
            # keeps it, where a masked copy would go element by element. Ties stay with the first.
            beats = np.greater(block[source], best[out])
            np.maximum(winner[out], beats.view(np.uint8) * np.uint8(code), out=winner[out])
            np.maximum(best[out], block[source], out=best[out])
        if not (best > -np.inf).all():  # NaN, or a window of minus infinities, which beat nothing
            best[...], winner[...] = max_pool2d_forward.plain(np, block, window)

    threads.run(task, _image_blocks(x))
    return y, offset


def _image_blocks(x: np.ndarray) -> list[slice]:
    """Runs of images of about 256 KB, so that the taps of a window find them in cache."""
    return threads.spans(len(x), max(1, x.nbytes >> 18))


@max_pool2d_forward.kernel
def _(device: Device, x: Any, window: Window) -> tuple[Any, Any]:
    n, _, _, c = x.shape
    y = device.empty((n, window.P, window.Q, c), x.dtype)
    offset = device.empty(y.shape, np.uint8)
    vec = vector_width(c, x, y, offset)
    threads = y.size // vec
    shape = _kernel_shape(n, c, window, c // vec, window.Q, window.P)
    _launch(device, "max_pool2d_forward", threads, (y, offset, x, shape, threads), vec, x.dtype)
    return y, offset


def _launch(device: Device, kernel: str, threads: int, args: tuple[Any, ...], vec: int, dtype: Any) -> None:
    grid = (ceil_div(threads, _BLOCK), 1, 1)
    SOURCE.launch(device, kernel, grid, _BLOCK, args, REAL=c_type(dtype, kernel), VEC=vec)


@functools.lru_cache(maxsize=256)
def _kernel_shape(n: int, c: int, window: Window, channels: int, width: int, height: int) -> np.ndarray:
    """``struct Pool2dShape`` for threads spread over (N, height, width, channels)."""
    w = window
    sizes = (n, w.H, w.W, c, w.P, w.Q, w.R, w.S, *w.stride, *w.padding, *w.dilation)
    return np.array([(*sizes, *(divisor(max(d, 1)) for d in (channels, width, height)))], _SHAPE)


# -- backward -------------------------------------------------------------------------------------


def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for x, window in _windows(rng):
        y, offset = max_pool2d_forward.plain(np, x, window)
        made.append({"dy": rng.standard_normal(y.shape).astype(x.dtype), "offset": offset, "window": window})
    return made


@primitive(examples=_backward_examples, returns=("dx",))
def max_pool2d_backward(xp: Any, dy: Any, offset: Any, window: Window) -> Any:
    """dx (N, H, W, C): each dy goes to the element that won its window."""
    dx = xp.zeros((dy.shape[0], window.H, window.W, dy.shape[3]), dy.dtype)
    for r in range(window.R):
        for s in range(window.S):
            out, source = _tap(window, r, s)
            dx[source] += xp.where(offset[out] == r * window.S + s, dy[out], dy.dtype.type(0))
    return dx


@max_pool2d_backward.numpy
def _(dy: np.ndarray, offset: np.ndarray, window: Window) -> np.ndarray:
    shape = (dy.shape[0], window.H, window.W, dy.shape[3])
    apart = all(
        step > spread * (k - 1)
        for step, spread, k in zip(window.stride, window.dilation, (window.R, window.S), strict=True)
    )

    # Windows that tile the image write every input; otherwise what no window covers must be zero.
    tiles = apart and shape[1:3] == (window.R * window.P, window.S * window.Q) and window.padding == (0, 0)
    dx = (np.empty if tiles else np.zeros)(shape, dy.dtype)

    def task(images: slice) -> None:
        block, gradient, winner = dx[images], dy[images], offset[images]
        for r in range(window.R):
            for s in range(window.S):
                out, source = _tap(window, r, s)
                won = winner[out] == r * window.S + s
                if apart:  # windows do not overlap: every input has one window at most
                    keep_where(won, gradient[out], block[source])
                else:
                    share = np.empty(won.shape, dy.dtype)
                    keep_where(won, gradient[out], share)
                    block[source] += share

    threads.run(task, _image_blocks(dx))
    return dx


@max_pool2d_backward.kernel
def _(device: Device, dy: Any, offset: Any, window: Window) -> Any:
    n, _, _, c = dy.shape
    dx = device.empty((n, window.H, window.W, c), dy.dtype)
    vec = vector_width(c, dx, dy, offset)
    threads = dx.size // vec
    shape = _kernel_shape(n, c, window, c // vec, window.W, window.H)
    _launch(device, "max_pool2d_backward", threads, (dx, dy, offset, shape, threads), vec, dy.dtype)
    return dx


# -- public op ------------------------------------------------------------------------------------


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
        float32 or float64.
    kernel_size, stride, padding, dilation : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given. Padding counts as
        minus infinity and is at most half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.

    Returns
    -------
    Tensor, (N, C, P, Q)
        P = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1. Of equal elements the
        first gets the gradient; NaN wins.

    Raises
    ------
    ShapeError
        If x is not 4-d, the window does not fit, or has more than 256 elements.
    UsageError, DTypeError
        If an argument makes no sense, or x is not floating.

    References
    ----------
    Lecture topic L15.
    """
    op = "max_pool2d"
    if x.ndim != 4:
        raise ShapeError(f"{where(op)}: expected x of shape (N, C, H, W); got {x.shape}.")
    if x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    kernel = pair(kernel_size, op, "kernel_size", 1)
    steps = kernel if stride is None else pair(stride, op, "stride", 1)
    pads = pair(padding, op, "padding", 0)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise UsageError(f"{where(op)}: padding {pads} is more than half the kernel {kernel}: windows would be empty.")
    if kernel[0] * kernel[1] > 256:
        raise ShapeError(
            f"{where(op)}: a window of {kernel} has more than 256 elements, which uint8 offsets cannot name."
        )
    height, width = x.shape[2:]
    window = Window(height, width, *kernel, steps, pads, pair(dilation, op, "dilation", 1), ceil_mode)
    window.check(op)
    device = x.device
    y, offset = max_pool2d_forward(device, x._physical, window)
    return record(op, y, device, (x,), lambda dy, needs: (max_pool2d_backward(device, dy, offset, window),))
