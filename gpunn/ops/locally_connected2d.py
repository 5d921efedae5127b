"""Locally connected images: a convolution whose filters differ from position to position.

The kernels are in ``kernels/locally_connected2d.cu``; what follows is about the CPU.

Nothing is shared, so every weight is read once for the whole batch, and that traffic is most of the work. The
images are therefore unrolled with the batch as the last axis: each position is then one product of its own
(K, CRS) filters, as stored, with (CRS, N).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device, device_of
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, pair, sides
from gpunn.cpu import threads
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("locally_connected2d.cu", REAL=("float", "double"))
_BLOCK = 256
_IMAGES = 8  # as in the kernel
_INTS = (*"NHWCKPQRS", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h", "dilation_w")
_DIVISORS = ("by_last", "by_width", "by_stride_h", "by_stride_w", "by_S", "by_R", "by_C", "by_K", "by_Q")
_SHAPE = np.dtype([(name, np.int32) for name in _INTS] + [(name, DIVISOR) for name in _DIVISORS])


# -- forward --------------------------------------------------------------------------------------


@primitive(returns=("y",))
def locally_connected2d_forward(xp: Any, x: Any, weight: Any, window: Window, bias: Any) -> Any:
    """y[n,p,q,k] = bias[k,p,q] + sum_{c,r,s} x[n, p*stride - top + r*dilation, ..., c] weight[p,q,k,c,r,s].

    x (N, H, W, C), weight (P, Q, K, C, R, S), bias (K, P, Q) or None; y (N, P, Q, K).
    """
    p, q, k, c, r, s = weight.shape
    unrolled = xp.ascontiguousarray(_windows(xp, _padded(xp, x, window), window))
    y = xp.matmul(weight.reshape(p, q, k, c * r * s), unrolled.reshape(p, q, c * r * s, x.shape[0]))
    if bias is not None:
        y += bias.transpose(1, 2, 0)[..., None]
    return xp.ascontiguousarray(y.transpose(3, 0, 1, 2))


def _border(xp: Any, x: Any, window: Window) -> Any:
    """Zeros, (C, H + padding, W + padding, N), for physical images x."""
    (top, left), (bottom, right), (n, h, w, c) = window.padding, window.after, x.shape
    return xp.zeros((c, top + h + bottom, left + w + right, n), x.dtype)


def _padded(xp: Any, x: Any, window: Window) -> Any:
    """Physical images as (C, H, W, N) inside their border."""
    padded, (top, left), (_, h, w, _) = _border(xp, x, window), window.padding, x.shape
    padded[:, top : top + h, left : left + w] = x.transpose(3, 1, 2, 0)
    return padded


def _windows(xp: Any, padded: Any, window: Window) -> Any:
    """View (P, Q, C, R, S, N): what each filter element reads at each position."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    c0, h0, w0, n0 = padded.strides
    shape = (window.P, window.Q, padded.shape[0], window.R, window.S, padded.shape[3])
    return xp.lib.stride_tricks.as_strided(padded, shape, (h0 * sh, w0 * sw, c0, h0 * dh, w0 * dw, n0))


def _add_windows(padded: Any, taps: Any, window: Window) -> None:
    """The transpose of :func:`_windows`: add (P, Q, C, R, S, N) onto (C, H, W, N), in a fixed order."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    for r in range(window.R):
        rows = slice(r * dh, r * dh + (window.P - 1) * sh + 1, sh)
        for s in range(window.S):
            columns = slice(s * dw, s * dw + (window.Q - 1) * sw + 1, sw)
            padded[:, rows, columns] += taps[:, :, :, r, s].transpose(2, 0, 1, 3)


def _image(padded: Any, window: Window) -> Any:
    """Physical images of (C, H, W, N) without the border."""
    (top, left), h, w = window.padding, window.H, window.W
    return padded[:, top : top + h, left : left + w].transpose(3, 1, 2, 0)


@locally_connected2d_forward.numpy
def _(x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None) -> np.ndarray:
    p, q, k = weight.shape[:3]
    n, depth = x.shape[0], weight[0, 0, 0].size
    view = _windows(np, _padded(np, x, window), window)
    y = np.empty((n, p, q, k), x.dtype)

    def task(row: int) -> None:
        unrolled = threads.scratch.array("unrolled", view.shape[1:], x.dtype)
        np.copyto(unrolled, view[row])
        out = threads.scratch.array("row", (q, k, n), x.dtype)
        np.matmul(weight[row].reshape(q, k, depth), unrolled.reshape(q, depth, n), out=out)
        if bias is not None:
            out += bias[:, row].T[..., None]
        y[:, row] = out.transpose(2, 0, 1)

    threads.run(task, range(p))
    return y


@locally_connected2d_forward.kernel
def _(device: Device, x: Any, weight: Any, window: Window, bias: Any) -> Any:
    p, q, k = weight.shape[:3]
    y = device.empty((x.shape[0], p, q, k), x.dtype)
    _launch(device, "local_forward", x, weight, window, p * q * k, (k, q), (y, x, weight, bias), groups=True)
    return y


def _launch(
    device: Device,
    kernel: str,
    x: Any,
    weight: Any,
    window: Window,
    threads: int,
    over: tuple[int, int],
    arrays: tuple[Any, ...],
    groups: bool = False,
) -> None:
    """Launch ``threads`` threads over (..., *reversed(over)); with ``groups`` that many for each group of images."""
    (p, q, k, c, r, s), n, w = weight.shape, x.shape[0], window
    ints = (n, w.H, w.W, c, k, p, q, r, s, *w.stride, *w.padding, *w.dilation)
    shape = np.array([(*ints, *(divisor(d) for d in (*over, *w.stride, s, r, c, k, q)))], _SHAPE)
    grid = (ceil_div(threads, _BLOCK), ceil_div(n, _IMAGES) if groups else 1, 1)
    SOURCE.launch(device, kernel, grid, _BLOCK, (*arrays, shape, threads), REAL=c_type(x.dtype, kernel))


# -- backward -------------------------------------------------------------------------------------


@primitive(returns=("dx", "dweight", "dbias"))
def locally_connected2d_backward(
    xp: Any, dy: Any, x: Any, weight: Any, window: Window, needs: tuple[bool, bool, bool]
) -> tuple[Any, Any, Any]:
    """Gradients with respect to x, weight and bias, None where ``needs`` says so; dy (N, P, Q, K)."""
    p, q, k, c, r, s = weight.shape
    n = x.shape[0]
    turned = xp.ascontiguousarray(dy.transpose(1, 2, 3, 0))  # (P, Q, K, N)
    dx = dweight = None
    if needs[1]:
        unrolled = _windows(xp, _padded(xp, x, window), window).transpose(0, 1, 5, 2, 3, 4)
        left = xp.ascontiguousarray(unrolled).reshape(p, q, n, c * r * s)
        dweight = xp.matmul(turned, left).reshape(weight.shape)
    if needs[0]:
        taps = xp.matmul(weight.reshape(p, q, k, -1).transpose(0, 1, 3, 2), turned).reshape(p, q, c, r, s, n)
        dpadded = _border(xp, x, window)
        _add_windows(dpadded, taps, window)
        dx = xp.ascontiguousarray(_image(dpadded, window))
    return dx, dweight, xp.ascontiguousarray(dy.sum(axis=0).transpose(2, 0, 1)) if needs[2] else None


@locally_connected2d_backward.numpy
def _(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, window: Window, needs: tuple[bool, bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    p, q, k, c, r, s = weight.shape
    n, depth = x.shape[0], c * r * s
    view = _windows(np, _padded(np, x, window), window) if needs[1] else None
    dweight = np.empty_like(weight) if needs[1] else None
    taps = np.empty((p, q, c, r, s, n), x.dtype) if needs[0] else None

    def row_task(row: int) -> None:
        turned = threads.scratch.array("turned", (q, k, n), x.dtype)
        np.copyto(turned, dy[:, row].transpose(1, 2, 0))
        if dweight is not None and view is not None:
            unrolled = threads.scratch.array("unrolled", view.shape[1:], x.dtype)
            np.copyto(unrolled, view[row])
            left = unrolled.reshape(q, depth, n).transpose(0, 2, 1)
            np.matmul(turned, left, out=dweight[row].reshape(q, k, depth))
        if taps is not None:
            left = weight[row].reshape(q, k, depth).transpose(0, 2, 1)
            np.matmul(left, turned, out=taps[row].reshape(q, depth, n))

    threads.run(row_task, range(p))
    dx = None
    if taps is not None:
        dpadded = _border(np, x, window)
        # Windows of neighbouring rows overlap; channels do not.
        threads.run(lambda channels: _add_windows(dpadded[channels], taps[:, :, channels], window), threads.spans(c, 4))
        dx = np.ascontiguousarray(_image(dpadded, window))
    return dx, dweight, np.ascontiguousarray(dy.sum(axis=0).transpose(2, 0, 1)) if needs[2] else None


@locally_connected2d_backward.kernel
def _(
    device: Device, dy: Any, x: Any, weight: Any, window: Window, needs: tuple[bool, bool, bool]
) -> tuple[Any, Any, Any]:
    (p, q, k), (_, h, w, c) = weight.shape[:3], x.shape
    dx, dweight, dbias = (
        device.empty(shape, x.dtype) if need else None
        for shape, need in zip((x.shape, weight.shape, (k, p, q)), needs, strict=True)
    )
    if dx is not None:
        _launch(device, "local_backward_data", x, weight, window, h * w * c, (c, w), (dx, dy, weight), groups=True)
    if dweight is not None:
        _launch(device, "local_backward_weight", x, weight, window, weight.size, (k, q), (dweight, dy, x))
    if dbias is not None:
        _launch(device, "local_backward_bias", x, weight, window, dbias.size, (k, q), (dbias, dy))
    return dx, dweight, dbias


# -- public op ------------------------------------------------------------------------------------


def locally_connected2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    *,
    strict: bool = False,
) -> Tensor:
    """A convolution with separate filters at every output position.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
        float32 or float64.
    weight : Tensor, (P, Q, K, C, R, S)
        ``weight[p, q]`` are the filters of output (p, q), in the shape that ``conv2d`` takes.
    bias : Tensor, (K, P, Q), optional
    stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros on each side, as in ``conv2d``.
    strict : bool
        Raise if the stride leaves rows or columns at the bottom or right in no window.

    Returns
    -------
    Tensor, (N, K, P, Q)
        P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError
        If channels do not match, the image does not have P x Q positions, or a border is unused and
        ``strict`` is set.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    References
    ----------
    Lecture topic L14.
    """
    op = "locally_connected2d"
    inputs = (x, weight) if bias is None else (x, weight, bias)
    device = device_of(op, inputs)
    window = _check(op, x, weight, bias, stride, padding, dilation)
    if strict:
        window.refuse_unused(op)
    image, filters = x._physical, weight._physical
    y = locally_connected2d_forward(device, image, filters, window, None if bias is None else bias._physical)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        wanted = (needs[0], needs[1], bias is not None and needs[2])
        gradients: tuple[Any, ...] = locally_connected2d_backward(device, dy, image, filters, window, wanted)
        return gradients[: len(inputs)]

    return record(op, y, device, inputs, backward, saves=(x, weight))


def _check(
    op: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Padding | str,
    dilation: Pair,
) -> Window:
    if x.ndim != 4 or weight.ndim != 6:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, H, W) and weight (P, Q, K, C, R, S); got {x.shape} and {weight.shape}."
        )
    (p, q, k, c, r, s), (height, width) = weight.shape, x.shape[2:]
    check_operands(op, x, weight, bias, c, (k, p, q))
    steps, spread = pair(stride, op, "stride", 1), pair(dilation, op, "dilation", 1)
    (top, bottom), (left, right) = sides(padding, op, (r, s), steps, spread)
    window = Window(height, width, r, s, steps, (top, left), spread, False, (bottom, right))
    window.check(op)
    if (p, q) != (window.P, window.Q):
        raise ShapeError(
            f"{here(op)}: the weight has filters for {p}x{q} positions; an image of {height}x{width} has "
            f"{window.P}x{window.Q}. Its weights fit images of one size only: resize or crop them."
        )
    return window


def check_operands(
    op: str, x: Tensor, weight: Tensor, bias: Tensor | None, channels: int, bias_shape: tuple[int, ...]
) -> None:
    """Raise unless channels, the bias and dtypes match, over one axis or two."""
    if 0 in weight.shape:
        raise ShapeError(f"{here(op)}: expected no axis of length 0; got weight {weight.shape}.")
    if x.shape[1] != channels:
        raise ShapeError(
            f"{here(op)}: expected {channels} input channels to match weight {weight.shape}; got x of shape {x.shape}."
        )
    if bias is not None and bias.shape != bias_shape:
        raise ShapeError(f"{here(op)}: expected a bias of shape {bias_shape}; got {bias.shape}.")
    dtypes = [t.dtype for t in (x, weight, bias) if t is not None]
    if x.dtype.kind not in FLOATING or any(d != x.dtype for d in dtypes):
        raise DTypeError(
            f"{here(op)}: expected one floating dtype; got {', '.join(map(str, dtypes))} for x, weight, bias. "
            "Convert x with .float() or the layer with .to(dtype)."
        )
