"""Max pooling (``kernels/max_pool2d.cu``, ``max_pool2d_pairs.cu``): the maximum of each window, and its gradient."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, overload

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._shared.pooling import check_images, image_window
from gpunn._tensor import Tensor
from gpunn._window import Pair, Window, closed, code_type, taps
from gpunn.cpu import max_pool2d as fast
from gpunn.cpu import memory
from gpunn.errors import UsageError, here
from gpunn.gpu import stored
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct
from gpunn.ops.binary import broadcast_binary
from gpunn.ops.cast import cast
from gpunn.ops.take_at import take_at
from gpunn.primitive import primitive
from gpunn.tape import record

PAIRS = KernelSource("max_pool2d_pairs.cu", **stored.DECLARED, VEC=(1, 4), SIDE=(2, 3), only=stored.is_declared)
SOURCE = KernelSource(
    "max_pool2d.cu", **stored.DECLARED, VEC=(1, 4), CODE=("uint8", "uint16", "uint32"), only=stored.is_declared
)
_BLOCK = 256
_INT_FIELDS = ("N", "H", "W", "C", "P", "Q", "R", "S")
_PAIR_FIELDS = ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w")
_DIVISORS = ("by_channels", "by_width", "by_height")
_PAIR_DIVISORS = ("by_stride_h", "by_stride_w", "by_dilation_h", "by_dilation_w")
_PAIRS_SHAPE = np.dtype(
    [(f, np.int32) for f in ("H", "W", "P", "Q", "pad_h", "pad_w")]
    + [(f, DIVISOR) for f in ("by_channels", "by_columns", "by_rows")]
)
_SHAPE = np.dtype(
    [(f, np.int32) for f in (*_INT_FIELDS, *_PAIR_FIELDS, "flat", "relu")]
    + [(f, DIVISOR) for f in (*_DIVISORS, *_PAIR_DIVISORS)]
)


_CHANNELS_FIRST, _CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


# -- forward --------------------------------------------------------------------------------------


@primitive(returns=("y", "offset"))
def max_pool2d_forward(xp: Any, x: Any, window: Window, flat: bool = False, relu: bool = False) -> tuple[Any, Any]:
    """y[n,p,q,c] = max over window (p, q) of x; offset = r * S + s of the first maximum.

    x (N, H, W, C);  y, offset (N, P, Q, C); with ``flat`` y is (N, C, P, Q), the order of a flattened image. NaN beats
    everything, and the last NaN beats earlier ones. With ``relu`` y = max(y, 0), and offset is ``closed`` where
    y <= 0. The offsets' type is ``code_type``: uint8 but for the largest windows.
    """
    n, _, _, c = x.shape
    y = xp.full((n, window.P, window.Q, c), -np.inf, x.dtype)
    code = code_type(window, relu)
    offset = xp.zeros(y.shape, code)
    seen = xp.zeros((1, window.P, window.Q, 1), bool)  # whether an element of the window was inside the image
    for r in range(window.R):
        for s in range(window.S):
            out, source = _tap(window, r, s)
            u = x[source]
            wins = (u > y[out]) | (u != u) | ~seen[:, out[1], out[2]]
            y[out] = xp.where(wins, u, y[out])
            offset[out] = xp.where(wins, code(r * window.S + s), offset[out])
            seen[:, out[1], out[2]] = True
    if relu:
        offset[y <= 0] = closed(code)
        y = xp.maximum(y, y.dtype.type(0))
    return xp.ascontiguousarray(y.transpose(_CHANNELS_FIRST)) if flat else y, offset


def _tap(window: Window, r: int, s: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The outputs for which window element (r, s) is inside the image, and the inputs it reads there."""
    rows_out, rows_in = taps(window, 0)[r]
    cols_out, cols_in = taps(window, 1)[s]
    return (slice(None), rows_out, cols_out), (slice(None), rows_in, cols_in)


@max_pool2d_forward.numpy
def _(x: np.ndarray, window: Window, flat: bool = False, relu: bool = False) -> tuple[np.ndarray, np.ndarray]:
    n, _, _, c = x.shape
    offset = memory.empty((n, window.P, window.Q, c), code_type(window, relu))
    y = memory.empty((n, c, window.P, window.Q) if flat else offset.shape, x.dtype)
    for images in fast.forward(x, window, flat, relu, y, offset):
        y[images], offset[images] = max_pool2d_forward.plain(np, x[images], window, flat, relu)
    return y, offset


@max_pool2d_forward.kernel(stored=("x",))
def _(device: Device, x: Any, window: Window, flat: bool = False, relu: bool = False) -> tuple[Any, Any]:
    n, _, _, c = x.shape
    offset = device.empty((n, window.P, window.Q, c), code_type(window, relu))
    y = device.empty((n, c, window.P, window.Q) if flat else offset.shape, x.dtype)
    vec = vector_width(c, x, y, offset)
    threads = y.size // vec
    shape = _kernel_shape(n, c, window, flat, relu, c // vec, window.Q, window.P)
    _launch(
        device, "max_pool2d_forward", threads, (stored.bits(y), offset, stored.bits(x), shape, threads), vec, x, offset
    )
    return y, offset


def _launch(
    device: Device, kernel: str, threads: int, args: tuple[Any, ...], vec: int, given: Any, offset: Any
) -> None:
    macros: dict[str, Any] = {**stored.macros_of(given.dtype, kernel), "VEC": vec, "CODE": offset.dtype.name}
    SOURCE.launch(device, kernel, (ceil_div(threads, _BLOCK), 1, 1), _BLOCK, args, **macros)


@functools.lru_cache(maxsize=256)
def _kernel_shape(
    n: int, c: int, window: Window, flat: bool, relu: bool, channels: int, width: int, height: int
) -> Struct:
    """``struct Pool2dShape`` for threads spread over (N, height, width, channels)."""
    w = window
    sizes = (n, w.H, w.W, c, w.P, w.Q, w.R, w.S, *w.stride, *w.padding, *w.dilation, int(flat), int(relu))
    divisors = (channels, width, height, *w.stride, *w.dilation)
    return Struct(np.array([(*sizes, *(divisor(max(d, 1)) for d in divisors))], _SHAPE))


# -- backward -------------------------------------------------------------------------------------


@primitive(returns=("dx",))
def max_pool2d_backward(xp: Any, dy: Any, offset: Any, window: Window, flat: bool = False) -> Any:
    """dx (N, H, W, C): each dy, in the order of the forward's y, goes to the element that won its window, if any."""
    dy = xp.ascontiguousarray(dy.transpose(_CHANNELS_LAST)) if flat else dy
    dx = xp.zeros((dy.shape[0], window.H, window.W, dy.shape[3]), dy.dtype)
    for r in range(window.R):
        for s in range(window.S):
            out, source = _tap(window, r, s)
            dx[source] += xp.where(offset[out] == r * window.S + s, dy[out], dy.dtype.type(0))
    return dx


@max_pool2d_backward.numpy
def _(dy: np.ndarray, offset: np.ndarray, window: Window, flat: bool = False) -> np.ndarray:
    n, _, _, c = offset.shape
    dx = memory.empty((n, window.H, window.W, c), dy.dtype)
    fast.backward(dy, offset, window, flat, dx)
    return dx


@max_pool2d_backward.kernel(stored=("dy",))
def _(device: Device, dy: Any, offset: Any, window: Window, flat: bool = False) -> Any:
    n, _, _, c = offset.shape
    dx = device.empty((n, window.H, window.W, c), dy.dtype)
    vec = vector_width(c, dx, dy, offset)
    w = window
    if w.stride == (2, 2) and w.R == w.S in (2, 3) and w.dilation == (1, 1) and not flat:
        rows, columns = ceil_div(w.H + w.padding[0] % 2, 2), ceil_div(w.W + w.padding[1] % 2, 2)
        threads = n * rows * columns * (c // vec)
        args = (stored.bits(dx), stored.bits(dy), offset, _pairs_shape(w, c // vec, columns, rows), threads)
        kernel = "max_pool2d_backward_pairs"
        macros: dict[str, Any] = {**stored.macros_of(dy.dtype, kernel), "VEC": vec, "SIDE": w.R}
        PAIRS.launch(device, kernel, (ceil_div(threads, _BLOCK), 1, 1), _BLOCK, args, **macros)
        return dx
    threads = dx.size // vec
    shape = _kernel_shape(n, c, window, flat, False, c // vec, window.W, window.H)
    args = (stored.bits(dx), stored.bits(dy), offset, shape, threads)
    _launch(device, "max_pool2d_backward", threads, args, vec, dy, offset)
    return dx


@functools.lru_cache(maxsize=256)
def _pairs_shape(window: Window, channels: int, columns: int, rows: int) -> Struct:
    """``struct PairsShape``."""
    w = window
    divisors = (divisor(max(d, 1)) for d in (channels, columns, rows))
    return Struct(np.array([(w.H, w.W, w.P, w.Q, *w.padding, *divisors)], _PAIRS_SHAPE))


# -- indices --------------------------------------------------------------------------------------


@primitive(returns=("index",), plans=False)  # its kernels read tables that are made once
def max_pool2d_indices(xp: Any, offset: Any, window: Window) -> Any:
    """index (N, P, Q, C) int64 = h * W + w of the element that won each window."""
    r, s = xp.divmod(offset.astype(np.int64), window.S)
    top = xp.arange(window.P)[:, None, None] * window.stride[0] - window.padding[0]
    left = xp.arange(window.Q)[:, None] * window.stride[1] - window.padding[1]
    return (top + r * window.dilation[0]) * window.W + left + s * window.dilation[1]


@max_pool2d_indices.kernel
def _(device: Device, offset: Any, window: Window) -> Any:
    two = offset.dtype == np.uint16
    corners, inside = _tables(device, window, two)
    # Kernels know signed integers of these sizes. Only with two bytes a code may look negative.
    signed = offset if offset.dtype == np.uint8 else offset.view(np.int16 if two else np.int32)
    which = cast(device, signed.reshape(-1), np.dtype(np.int64))
    if two:
        which = broadcast_binary(device, "add", which, np.int64(1 << 15))
    index = take_at(device, inside._physical, [which], (0,), 0).reshape(offset.shape)
    return broadcast_binary(device, "add", index, corners._physical)


# Kept on the device: a captured step may not copy from the host, and has been run before it is captured.
@functools.lru_cache(maxsize=256)
def _tables(device: Device, window: Window, two: bool) -> tuple[Tensor, Tensor]:
    """The place of each window's corner, physical (1, P, Q, 1), and how far each element is from there, by its code.

    With ``two`` bytes codes are counted as if they were signed, from -2^15 on.
    """
    top = np.arange(window.P)[:, None] * window.stride[0] - window.padding[0]
    corners = top * window.W + np.arange(window.Q) * window.stride[1] - window.padding[1]
    rows = np.arange(window.R)[:, None] * window.dilation[0] * window.W
    inside = (rows + np.arange(window.S) * window.dilation[1]).reshape(-1)
    if two:
        inside = np.roll(np.pad(inside, (0, (1 << 16) - len(inside))), 1 << 15)
    return tensor(corners[None, None], device=device), tensor(inside, device=device)


# -- public op ------------------------------------------------------------------------------------


@overload
def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    activation: str | None = None,
    strict: bool = False,
    flatten: bool = False,
) -> Tensor: ...
@overload
def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    activation: str | None = None,
    strict: bool = False,
    flatten: bool = False,
) -> Tensor | tuple[Tensor, Tensor]: ...
def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    activation: str | None = None,
    strict: bool = False,
    flatten: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each window.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    kernel_size, stride, padding, dilation : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given. Padding counts as
        minus infinity and is at most half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    return_indices : bool
        Also return where each maximum was, as h W + w.
    activation : None or "relu"
        Applied in the same pass; the same as a ReLU of x, since the two commute. Not together with
        indices.
    strict : bool
        Raise if rows or columns at the border are in no window, instead of leaving them out.
    flatten : bool
        Merge all axes but the first, as :func:`gpunn.nn.functional.flatten` from axis 1 on would: (N, C P Q), in the
        same pass, or (C, P Q). Not together with indices.

    Returns
    -------
    Tensor, (N, C, P, Q) or (C, P, Q), or two of them
        P = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1. Of equal elements the
        first gets the gradient; NaN wins, the last of several. The indices are int64.

    Raises
    ------
    ShapeError
        If x has other axes, or the window does not fit.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    >>> max_pool2d(x.reshape(1, 1, 4, 4), 2).tolist()
    [[[[6.0, 8.0], [3.0, 4.0]]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "max_pool2d"
    if flatten and return_indices:
        raise UsageError(f"{here(op)}: flatten: expected without return_indices, which are those of an image.")
    if x.ndim == 3:
        options = (kernel_size, stride, padding, dilation, ceil_mode)
        found = max_pool2d(x.unsqueeze(0), *options, return_indices, activation=activation, strict=strict)
        if not isinstance(found, Tensor):
            return found[0].squeeze(0), found[1].squeeze(0)
        # Flattening from axis 1 on leaves the first one, which is the channels here.
        return found.reshape(found.shape[1], -1) if flatten else found.squeeze(0)
    check_images(op, x)
    window = image_window(op, x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode, strict)
    if activation not in (None, "relu"):
        raise UsageError(f"{here(op)}: activation: expected None or 'relu'; got {activation!r}.")
    if activation is not None and return_indices:
        raise UsageError(f"{here(op)}: activation: expected without return_indices; apply relu to the values.")
    y, index = pool_maximum(op, x, x._physical, window, return_indices, flatten, activation == "relu")
    return y if index is None else (y, index)


def pool_maximum(
    op: str, x: Tensor, images: Any, window: Window, indices: bool = False, flat: bool = False, relu: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The pooling of x, viewed as physical ``images`` (M, H, W, C), recorded; with the indices if requested.

    With ``flat`` the outputs (N, C, P, Q) of images are rows of C P Q.
    """
    device, shape = x.device, x._physical.shape
    y, offset = max_pool2d_forward(device, images, window, flat, relu)
    # A sequence (N, C, L) arrived as N C images; its outputs are (N, C, P).
    made = y.shape if x.ndim == 4 else (*shape[:2], window.P)
    if flat:
        made = (y.shape[0], math.prod(y.shape[1:]))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (max_pool2d_backward(device, dy.reshape(y.shape), offset, window, flat).reshape(shape),)

    result = record(op, y.reshape(made), device, (x,), backward)
    if not indices:
        return result, None
    return result, Tensor._of_physical(max_pool2d_indices(device, offset, window).reshape(made), device)
