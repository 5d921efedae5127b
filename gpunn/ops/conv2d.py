"""Convolution: its primitives and public op.

The fast NumPy bodies are in ``cpu/conv2d/``; ``gpu/conv2d.py`` says which kernels compute a convolution, and
launches those of ``kernels/conv2d.cu``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device, device_of
from gpunn._half import FLOATING
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, is_plain_product, pair, remembered, sides
from gpunn.cpu.conv2d import ways
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu import conv2d as kernels
from gpunn.gpu import (
    conv2d_first,
    conv2d_first_data,
    conv2d_first_half,
    conv2d_first_half_data,
    conv2d_narrow,
    conv2d_tensor,
    half,
)
from gpunn.gpu.conv2d_geometry import refuse_too_many
from gpunn.ops.accumulate import accumulate
from gpunn.ops.bias import bias_backward
from gpunn.ops.linear import linear_backward
from gpunn.ops.matmul import gemm
from gpunn.primitive import primitive
from gpunn.tape import record

_Three = tuple[bool, bool, bool]  # whether the gradients of x, weight, bias are wanted


# -- forward --------------------------------------------------------------------------------------


@primitive(returns=("y",))
def conv2d_forward(xp: Any, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> Any:
    """y[n,p,q,k] = act(bias[k] + sum_{r,s,c} x[n, p*stride - top + r*dilation, ..., c] weight[k,r,s,c]).

    x (N, H, W, C), weight (K, R, S, C/groups), bias (K,) or None; y (N, P, Q, K). Channels are split
    into ``groups``, each convolved by itself.
    """
    y = xp.zeros((x.shape[0], window.P, window.Q, weight.shape[0]), x.dtype)
    padded = _pad(xp, x, window)
    for r in range(window.R):
        for s in range(window.S):
            tap = padded[_tap(window, r, s)]
            for xc, kc in _groups(x.shape[3], weight.shape[0], groups):
                y[..., kc] += tap[..., xc] @ weight[kc, r, s].T
    if bias is not None:
        y += bias
    return xp.maximum(y, y.dtype.type(0)) if relu else y


def _pad(xp: Any, x: Any, window: Window) -> Any:
    (ph, pw), (eh, ew), (n, h, w, c) = window.padding, window.after, x.shape
    padded = xp.zeros((n, ph + h + eh, pw + w + ew, c), x.dtype)
    padded[:, ph : ph + h, pw : pw + w] = x
    return padded


def _tap(window: Window, r: int, s: int) -> tuple[slice, ...]:
    """The elements of the padded image that filter element (r, s) reads."""
    (dh, dw), (sh, sw) = window.dilation, window.stride
    rows = slice(r * dh, r * dh + (window.P - 1) * sh + 1, sh)
    return slice(None), rows, slice(s * dw, s * dw + (window.Q - 1) * sw + 1, sw)


def _groups(c: int, k: int, groups: int) -> list[tuple[slice, slice]]:
    """(input channels, output channels) of each group."""
    cg, kg = c // groups, k // groups
    return [(slice(g * cg, (g + 1) * cg), slice(g * kg, (g + 1) * kg)) for g in range(groups)]


conv2d_forward.numpy(ways.forward)


@conv2d_forward.kernel
def _(device: Device, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> Any:
    kind = kernels.choose(weight.shape, groups, window, x.itemsize, back=False)
    if kind == "narrow":
        return conv2d_narrow.forward(device, x, weight, window, groups, bias, relu)
    if kind == "first":
        return conv2d_first.forward(device, x, weight, window, bias, relu)
    if kind == "tiled":
        if conv2d_tensor.takes_forward(device, x, weight, window):
            return conv2d_tensor.forward(device, x, weight, window, bias, relu)
        return kernels.forward(device, x, weight, window, groups, bias, relu)
    n, (k, _, _, c) = x.shape[0], weight.shape
    refuse_too_many(n, c, k, window)
    y = gemm(device, x.reshape(-1, c), weight.reshape(k, c), "nt", bias, relu)
    return y.reshape(n, window.P, window.Q, k)


@conv2d_forward.half_kernel
def _(device: Device, x: Any, weight: Any, window: Window, groups: int, bias: Any, relu: bool) -> Any:
    k, _, _, c = weight.shape
    if is_plain_product(window, groups):
        y = half.product(device, x.reshape(-1, c), weight.reshape(k, c), "nt", bias, relu)
        return y if y is None else y.reshape(x.shape[0], window.P, window.Q, k)
    if conv2d_narrow.takes(weight.shape, groups) and half.one_dtype(x, weight, bias):
        return conv2d_narrow.forward(device, x, weight, window, groups, bias, relu)
    if conv2d_first_half.takes(device, x, weight, window, groups, bias):
        return conv2d_first_half.forward(device, x, weight, window, bias, relu)
    if not half.takes_convolution(device, x, weight, window, groups, bias):
        return None
    return half.forward(device, x, weight, window, bias, relu)


# -- backward -------------------------------------------------------------------------------------


@primitive(returns=("dx", "dweight", "dbias"))
def conv2d_backward(
    xp: Any, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int, needs: _Three, more: Any = None
) -> tuple[Any, Any, Any]:
    """Gradients of the convolution with respect to x, weight and bias, None where ``needs`` says so.

    dy (N, P, Q, K) is the gradient of the output, y the output if it went through a ReLU, else None. more (N, H, W, C),
    unless None, is added to the gradient of x.
    """
    rows = dy.reshape(-1, dy.shape[3])
    dz, dbias = bias_backward.plain(xp, rows, None if y is None else y.reshape(rows.shape), needs[2])
    dz = dz.reshape(dy.shape)
    padded = _pad(xp, x, window)
    dpadded = xp.zeros(padded.shape, x.dtype) if needs[0] else None
    dweight = xp.zeros(weight.shape, x.dtype) if needs[1] else None
    for r in range(window.R):
        for s in range(window.S):
            tap = _tap(window, r, s)
            for xc, kc in _groups(x.shape[3], weight.shape[0], groups):
                if dpadded is not None:
                    dpadded[tap][..., xc] += dz[..., kc] @ weight[kc, r, s]
                if dweight is not None:
                    columns = dz[..., kc].reshape(-1, kc.stop - kc.start)
                    dweight[kc, r, s] = columns.T @ padded[tap][..., xc].reshape(-1, xc.stop - xc.start)
    if dpadded is None:
        return None, dweight, dbias
    (ph, pw), (_, h, w, _) = window.padding, x.shape
    dx = xp.ascontiguousarray(dpadded[:, ph : ph + h, pw : pw + w])
    return dx if more is None else more + dx, dweight, dbias


@conv2d_backward.numpy
def _(
    dy: np.ndarray,
    y: np.ndarray | None,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    needs: _Three,
    more: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    assert bias_backward.numpy_body is not None
    rows = dy.reshape(-1, dy.shape[3])
    dz, dbias = bias_backward.numpy_body(rows, None if y is None else y.reshape(rows.shape), needs[2])
    if not (needs[0] or needs[1]):
        return None, None, dbias
    dx, dweight = ways.backward(dz.reshape(dy.shape), x, weight, window, groups, needs[:2])
    if dx is not None and more is not None:
        np.add(more, dx, out=dx)
    return dx, dweight, dbias


@conv2d_backward.kernel
def _(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int, needs: _Three, more: Any = None
) -> tuple[Any, Any, Any]:
    k, _, _, c = weight.shape
    wants_data, wants_weight, wants_bias = needs
    kind = kernels.choose(weight.shape, groups, window, x.itemsize, back=True)
    if kind == "product":
        dy, y, rows, more = (a if a is None else a.reshape(-1, a.shape[3]) for a in (dy, y, x, more))
        dx, dweight, dbias = linear_backward(device, dy, y, rows, weight.reshape(k, c), needs, more)
        dx = None if dx is None else dx.reshape(x.shape)
        return dx, None if dweight is None else dweight.reshape(weight.shape), dbias
    tensor_data = (
        wants_data and kind != "narrow" and conv2d_tensor.takes_data(device, dy, y, weight, x.shape, window, more)
    )
    tensor_weight = wants_weight and kind == "tiled" and conv2d_tensor.takes_weight(device, dy, y, x, weight, window)
    by_tensor_cores = tensor_data, tensor_weight
    apart = functools.partial(_apart, device, kind, by_tensor_cores, dy, y, x, weight, window, groups, needs, more)
    if kind == "tiled" and wants_data and wants_weight and not any(by_tensor_cores):
        return kernels.backward(device, dy, y, x, weight, window, groups, wants_bias, more, apart)
    return apart()


def _apart(
    device: Device,
    kind: str,
    by_tensor_cores: tuple[bool, bool],
    dy: Any,
    y: Any,
    x: Any,
    weight: Any,
    window: Window,
    groups: int,
    needs: _Three,
    more: Any,
) -> tuple[Any, Any, Any]:
    """The gradients, that of x by a launch of its own; ``by_tensor_cores``: those of x and weight."""
    wants_data, wants_weight, wants_bias = needs
    tensor_data, tensor_weight = by_tensor_cores
    dx = dweight = dbias = None

    def gated() -> tuple[Any, Any]:
        rows = dy.reshape(-1, dy.shape[3])
        dz, dbias = bias_backward(device, rows, None if y is None else y.reshape(rows.shape), wants_bias)
        return dz.reshape(dy.shape), dbias

    # One launch for the gradients of weight and bias, which also writes dz for the next. Tensor cores read dz as it is.
    if not wants_weight or tensor_weight:
        dz, dbias = gated()
        dweight = conv2d_tensor.backward_weight(device, dz, x, weight, window) if tensor_weight else None
    elif kind == "narrow":
        dweight, dbias, dz = conv2d_narrow.backward_weight(
            device, dy, y, x, weight, window, groups, wants_bias, wants_data
        )
    elif kind == "first":
        dweight, dbias, dz = conv2d_first.backward_weight(device, dy, y, x, weight, window, wants_bias, wants_data)
    else:
        dweight, dbias, dz = kernels.backward_weight(
            device, dy, y, x, weight, window, groups, wants_bias, wants_data, gated
        )
    if wants_data and kind == "narrow":
        dx = conv2d_narrow.backward_data(device, dz, weight, x.shape, window, groups)
        if more is not None:
            accumulate(device, dx, more)
    elif tensor_data:
        dx = conv2d_tensor.backward_data(device, dz, weight, x.shape, window, more)
    elif wants_data and conv2d_first_data.takes(weight.shape, groups, window, x.itemsize):
        dx = conv2d_first_data.backward_data(device, dz, weight, x.shape, window, more)
    elif wants_data:
        dx = kernels.backward_data(device, dz, weight, x.shape, window, groups, more)
    return dx, dweight, dbias


@conv2d_backward.half_kernel
def _(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int, needs: _Three, more: Any = None
) -> Any:
    k, _, _, c = weight.shape
    rows, gate, waiting = (a if a is None else a.reshape(-1, a.shape[3]) for a in (dy, y, more))
    if is_plain_product(window, groups):
        flat = (rows, gate, x.reshape(-1, c), weight.reshape(k, c), needs, waiting)
        if not half.takes_backward(device, *flat):
            return None
        dx, dweight, dbias = linear_backward(device, *flat)
        dx = None if dx is None else dx.reshape(x.shape)
        return dx, None if dweight is None else dweight.reshape(weight.shape), dbias
    if conv2d_narrow.takes(weight.shape, groups) and half.one_dtype(dy, y, x, weight, more):
        return _apart(device, "narrow", (False, False), dy, y, x, weight, window, groups, needs, more)
    data = not needs[0] or conv2d_first_half_data.takes(device, dy, weight, x.shape, window, groups, more)
    if data and (not needs[1] or conv2d_first_half.takes_backward_weight(device, dy, y, x, weight, window, groups)):
        dz, dbias = bias_backward(device, rows, gate, needs[2])
        dz, dx, dweight = dz.reshape(dy.shape), None, None
        if needs[0]:
            dx = conv2d_first_half_data.backward_data(device, dz, weight, x.shape, window, more)
        if needs[1]:
            dweight = conv2d_first_half.backward_weight(device, dz, x, weight, window)
        return dx, dweight, dbias
    if not half.takes_convolution(device, x, weight, window, groups, dy, y, more):
        return None
    dz, dbias = bias_backward(device, rows, gate, needs[2])
    dz = dz.reshape(dy.shape)
    dweight = half.backward_weight(device, dz, x, weight, window) if needs[1] else None
    dx = half.backward_data(device, dz, weight, x.shape, window, more) if needs[0] else None
    return dx, dweight, dbias


# -- public op ------------------------------------------------------------------------------------


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    strict: bool = False,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation, as everywhere in deep learning).

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    weight : Tensor, (K, C / groups, R, S)
    bias : Tensor, (K,), optional
    stride, dilation : int or (int, int)
        Vertical, horizontal.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid"
        Zeros on each side: for all, (vertical, horizontal), or ((top, bottom), (left, right)). "same"
        keeps the size, with the odd zero of an even extent at the end; it needs stride 1.
    groups : int
        Groups of channels, each convolved by itself; groups = C is depthwise.
    activation : None or "relu"
        Applied in the same pass.
    strict : bool
        Raise if the stride leaves rows or columns at the bottom or right in no window.

    Returns
    -------
    Tensor, (N, K, P, Q) or (K, P, Q)
        P = floor((H + top + bottom - dilation (R - 1) - 1) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError
        If channels do not match, the kernel is larger than the padded input, or a border is unused
        and ``strict`` is set.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998; lecture topic L10.
    """
    if casting.on:
        x, weight, bias = casting.inputs("conv2d", x, weight, bias)
    op = "conv2d"
    if x.ndim == 3 and weight.ndim == 4:
        options = (stride, padding, dilation, groups)
        return conv2d(x.unsqueeze(0), weight, bias, *options, activation=activation, strict=strict).squeeze(0)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    device = device_of(op, inputs)
    groups = as_int(groups, groups)
    window = check_arguments(op, x, weight, bias, stride, padding, dilation, groups, strict=strict)
    if activation not in (None, "relu"):
        raise UsageError(f"{here(op)}: activation: expected None or 'relu'; got {activation!r}.")
    relu = activation == "relu"
    image, filters = x._physical, weight._physical
    y = conv2d_forward(device, image, filters, window, groups, None if bias is None else bias._physical, relu)
    gate = y if relu else None  # what the closure names stays in memory: y only where it is needed

    def backward(dy: Any, needs: tuple[bool, ...], waiting: Any) -> tuple[Any, ...]:
        wanted = (needs[0], needs[1], bias is not None and needs[2])
        return conv2d_backward(device, dy, gate, image, filters, window, groups, wanted, waiting)[: len(inputs)]

    return record(op, y, device, inputs, backward, saves=(x, weight), keeps=relu, adds=True)


def check_arguments(
    op: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Padding | str,
    dilation: Pair,
    groups: int,
    *,
    strict: bool,
) -> Window:
    """Check everything that can be wrong with the arguments, each with its own message."""
    if x.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, H, W) or (C, H, W) and weight (K, C/groups, R, S); got {x.shape} and "
            f"{weight.shape}."
        )
    check_operands(op, x, weight, bias, groups)
    window = _window(op, x.shape[2:], weight.shape[2:], stride, padding, dilation)
    if strict:
        window.refuse_unused(op)
    return window


@remembered
def _window(
    op: str, image: tuple[int, int], kernel: tuple[int, int], stride: Pair, padding: Padding | str, dilation: Pair
) -> Window:
    steps, spread = pair(stride, op, "stride", 1), pair(dilation, op, "dilation", 1)
    (top, bottom), (left, right) = sides(padding, op, kernel, steps, spread)
    window = Window(*image, *kernel, steps, (top, left), spread, False, (bottom, right))
    window.check(op)
    return window


def check_operands(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    """Raise unless channels, groups, bias and dtypes of a convolution over any number of axes match."""
    (k, depth), channels = weight.shape[:2], x.shape[1]
    if type(groups) is not int or groups < 1 or k % groups:
        raise UsageError(f"{here(op)}: groups: expected a divisor of the {k} output channels; got {groups!r}.")
    if k == 0 or depth == 0:
        raise ShapeError(f"{here(op)}: expected at least one channel and one filter; got weight {weight.shape}.")
    if channels != depth * groups:
        raise ShapeError(
            f"{here(op)}: expected {depth * groups} input channels to match weight {weight.shape}"
            f"{f' and {groups} groups' if groups > 1 else ''}; got x of shape {x.shape}."
        )
    if bias is not None and bias.shape != (k,):
        raise ShapeError(f"{here(op)}: expected a bias of shape {(k,)}; got {bias.shape}.")
    dtypes = [t.dtype for t in (x, weight, bias) if t is not None]
    if x.dtype.kind not in FLOATING or any(d != x.dtype for d in dtypes):
        raise DTypeError(
            f"{here(op)}: expected one floating dtype; got {', '.join(map(str, dtypes))} for x, weight, bias. "
            "Convert x with .float() or the layer with .to(dtype)."
        )
