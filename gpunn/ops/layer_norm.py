"""Layer normalisation over trailing axes (``kernels/layer_norm.cu``).

The primitives get a matrix: each row is normalised, each column has its own weight and bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device, same_device
from gpunn._half import FLOATING, goes_with
from gpunn._layout import physical_shape
from gpunn._shared.numbers import as_int, real_number
from gpunn._tensor import Tensor
from gpunn.cpu import layer_norm as fast
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.ops.cast import in_dtype
from gpunn.ops.permute import to_logical_order, to_physical_order
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("layer_norm.cu", REAL=("float", "double"), VEC=(1, 4))
_OP = "layer_norm"
_BLOCK = 512  # threads of a block, at most: BLOCK in layer_norm.cu
_SHARED_BLOCK = 256  # threads of a block with several rows
_CHUNK_BLOCK = 256  # threads of a block on a part of a long row
_TURNS = 4  # a thread of the backward takes at least this many rows: that many times fewer partial sums
_SLICES = 512  # blocks of the backward, at most: they fill the largest GPUs
Three = tuple[bool, bool, bool]  # whether the gradients of x, weight, bias are wanted


# -- primitives -----------------------------------------------------------------------------------


def _mean(u: Any) -> Any:
    """Over each row; added in float64, so that long sums lose no digits."""
    return u.mean(axis=1, dtype=np.float64).astype(u.dtype)


@primitive(returns=("y", "mean", "rstd"), wide=("mean", "rstd"))
def layer_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """y = (x - mean) * rstd * weight + bias by rows, with rstd = 1 / sqrt(var + eps); None skips a step.

    x, y (rows, cols);  weight, bias (cols);  mean, rstd (rows).
    """
    mean = _mean(x)
    centred = x - mean[:, None]
    rest = _mean(centred)  # as far as the mean was rounded
    mean, centred = mean + rest, centred - rest[:, None]
    rstd = 1 / xp.sqrt(_mean(centred**2) + x.dtype.type(eps))
    y = centred * rstd[:, None]
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, mean, rstd


layer_norm_forward.numpy(fast.forward)


def _held(dtype: np.dtype, vec: int) -> int:
    """Elements of a row that a thread keeps in registers: HELD vectors."""
    return vec * (4 if dtype.itemsize == 4 else 2)


def _block(cols: int, dtype: np.dtype, vec: int, most: int) -> tuple[int, int, int] | None:
    """Block of threads for whole rows, several if they are short; None if a row is too long for ``most`` threads."""
    threads = 32 * max(1, ceil_div(cols, 32 * _held(dtype, vec)))
    return (threads, max(1, min(_SHARED_BLOCK, most) // threads), 1) if threads <= most else None


@layer_norm_forward.kernel
def _(
    device: Device, x: Any, weight: Any, bias: Any, eps: float, threads: int = _BLOCK, chunk_threads: int = _CHUNK_BLOCK
) -> tuple[Any, Any, Any]:
    rows, cols = x.shape
    y = device.empty(x.shape, x.dtype)
    mean, rstd = (device.empty((rows,), x.dtype) for _ in range(2))
    vec = vector_width(cols, y, x, weight, bias)
    macros: dict[str, Any] = {"REAL": c_type(x.dtype, _OP), "VEC": vec}
    block = _block(cols, x.dtype, vec, threads)
    if block is not None:
        args: tuple[Any, ...] = (y, mean, rstd, x, weight, bias, rows, cols, eps)
        SOURCE.launch(device, "layer_norm_forward", (ceil_div(rows, block[1]), 1, 1), block, args, **macros)
        return y, mean, rstd
    chunks = ceil_div(cols, chunk_threads * _held(x.dtype, vec))
    part_mean, part_m2 = (device.empty((rows, chunks), x.dtype) for _ in range(2))
    grid = (rows * chunks, 1, 1)
    SOURCE.launch(device, "layer_norm_moments", grid, chunk_threads, (part_mean, part_m2, x, cols, chunks), **macros)
    args = (y, mean, rstd, x, part_mean, part_m2, weight, bias, cols, chunks, eps)
    SOURCE.launch(device, "layer_norm_normalise", grid, chunk_threads, args, **macros)
    return y, mean, rstd


@primitive(returns=("dx", "dweight", "dbias"), wide=("dweight", "dbias"))
def layer_norm_backward(
    xp: Any, dy: Any, x: Any, mean: Any, rstd: Any, weight: Any, needs: Three
) -> tuple[Any, Any, Any]:
    """dx = rstd (g - mean(g) - xhat mean(g xhat)) by rows, g = dy weight; dweight = sum of dy xhat, dbias of dy."""
    xhat = (x - mean[:, None]) * rstd[:, None]
    dx = None
    if needs[0]:
        g = dy if weight is None else dy * weight
        along = (g * xhat).mean(axis=1, keepdims=True)
        dx = (g - g.mean(axis=1, keepdims=True) - xhat * along) * rstd[:, None]
    return dx, (dy * xhat).sum(axis=0) if needs[1] else None, dy.sum(axis=0) if needs[2] else None


@layer_norm_backward.numpy
def _(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: Any, needs: Three
) -> tuple[Any, Any, Any]:
    found = fast.backward(dy, x, mean, rstd, weight, needs)
    if found is not None:
        return found
    with quiet():
        made: tuple[Any, Any, Any] = layer_norm_backward.plain(np, dy, x, mean, rstd, weight, needs)
        return made


@layer_norm_backward.kernel
def _(
    device: Device,
    dy: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any,
    needs: Three,
    threads: int = _BLOCK,
    chunk_threads: int = _CHUNK_BLOCK,
) -> tuple[Any, Any, Any]:
    rows, cols = x.shape
    dx = device.empty(x.shape, x.dtype) if needs[0] else None
    columns = needs[1] or needs[2]
    vec = vector_width(cols, dx, dy, x, weight)
    macros: dict[str, Any] = {"REAL": c_type(x.dtype, _OP), "VEC": vec}
    block = _block(cols, x.dtype, vec, threads)
    partial = None
    if block is not None:
        slices = max(1, min(_SLICES, ceil_div(rows, block[1] * _TURNS)))
        partial = device.empty((slices, 2, cols), x.dtype) if columns else None
        args: tuple[Any, ...] = (dx, partial, dy, x, mean, rstd, weight, rows, cols)
        SOURCE.launch(device, "layer_norm_backward", (slices, 1, 1), block, args, **macros)
    else:
        chunks = ceil_div(cols, chunk_threads * _held(x.dtype, vec))
        grid = (rows * chunks, 1, 1)
        if dx is not None:
            parts = device.empty((rows, chunks, 3), x.dtype)
            args = (parts, dy, x, mean, weight, cols, chunks)
            SOURCE.launch(device, "layer_norm_backward_sums", grid, chunk_threads, args, **macros)
            args = (dx, parts, dy, x, mean, rstd, weight, cols, chunks)
            SOURCE.launch(device, "layer_norm_backward_rows", grid, chunk_threads, args, **macros)
        if columns:
            tiles = ceil_div(cols, vec * chunk_threads)
            per_slice = max(2 * _TURNS, ceil_div(rows, max(1, 2 * _SLICES // tiles)))
            partial = device.empty((max(1, ceil_div(rows, per_slice)), 2, cols), x.dtype)
            args = (partial, dy, x, mean, rstd, rows, cols, per_slice)
            grid = (tiles, len(partial), 1)
            SOURCE.launch(device, "layer_norm_backward_columns", grid, chunk_threads, args, **macros)
    if partial is None:
        return dx, None, None
    dweight, dbias = _merged(device, partial)
    return dx, dweight if needs[1] else None, dbias if needs[2] else None


def _merged(device: Device, partial: Any) -> tuple[Any, Any]:
    """dweight and dbias from (slices, 2, cols) partial sums."""
    slices, _, cols = partial.shape
    out = partial[0]
    if slices > 1:
        out = device.empty((2, cols), partial.dtype)
        block = (32, min(_BLOCK // 32, slices), 1)
        args = (out, partial, slices, 2 * cols)
        grid = (ceil_div(2 * cols, 32), 1, 1)
        SOURCE.launch(device, "layer_norm_merge", grid, block, args, REAL=c_type(out.dtype, _OP), VEC=1)
    return out[0], out[1]


# -- public op ------------------------------------------------------------------------------------


def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise the trailing axes to zero mean and unit variance, then scale and shift element by element.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Parameters
    ----------
    x : Tensor, (..., *normalized_shape)
        float32 or float64. The axes are the logical ones: of images (N, C, H, W) the last is W.
    normalized_shape : int or sequence of int
        Lengths of the trailing axes over which mean and variance are taken; an int stands for the last axis.
    weight, bias : Tensor of ``normalized_shape``, optional
        1 and 0 if not given.
    eps : float
        Added to the (biased) variance, which divides by the number of elements.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        If x does not end in ``normalized_shape``, or weight or bias has another shape.
    UsageError
        If ``normalized_shape`` is not one or several positive integers, or eps negative.
    DTypeError, DeviceError
        If the tensors are not of one floating dtype and one device.

    Examples
    --------
    >>> import gpunn
    >>> layer_norm(gpunn.tensor([[1.0, 3.0], [5.0, 5.0]]), 2, eps=3.0).tolist()
    [[-0.5, 0.5], [0.0, 0.0]]

    References
    ----------
    Ba, Kiros, Hinton 2016, arXiv:1607.06450; lecture topic L8.
    """
    if casting.on:
        x, weight, bias = casting.inputs("layer_norm", x, weight, bias)
    shape = lengths(_OP, normalized_shape)
    _check(x, shape, weight, bias)
    if type(eps) is not float or not eps >= 0:
        eps = real_number(_OP, "eps", eps, 0, finite=False)
    device, cols = x.device, math.prod(shape)
    enter, leave = _orders(device, x, len(shape))
    px = enter(x._physical)
    rows = px.reshape(px.size // cols, cols)
    scale, shift = (None if t is None else _in_order_of(device, t, x) for t in (weight, bias))
    y, mean, rstd = layer_norm_forward(device, rows, scale, shift, eps)
    operands = {"x": x, "weight": weight, "bias": bias}
    inputs = {name: t for name, t in operands.items() if t is not None}

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        asked = dict(zip(inputs, needs, strict=True))
        wanted = (asked["x"], asked.get("weight", False), asked.get("bias", False))
        dx, *others = layer_norm_backward(device, enter(dy).reshape(rows.shape), rows, mean, rstd, scale, wanted)
        named = {"x": None if dx is None else leave(dx.reshape(px.shape))}
        for name, gradient in zip(("weight", "bias"), others, strict=True):
            if gradient is not None:
                named[name] = _back_in_order(device, in_dtype(device, gradient, inputs[name].dtype), shape, x)
        return tuple(named.get(name) for name in inputs)

    saves = [t for t in (x, weight) if t is not None]
    return record(_OP, leave(y.reshape(px.shape)), device, tuple(inputs.values()), backward, saves=saves)


def lengths(op: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """``normalized_shape`` as a tuple, or UsageError."""
    one = as_int(normalized_shape)
    given = (one,) if one is not None else tuple(map(as_int, normalized_shape))  # type: ignore[arg-type]
    if not given or any(n is None or n < 1 for n in given):
        raise UsageError(
            f"{here(op)}: normalized_shape: expected a positive integer or several; got {normalized_shape!r}."
        )
    return given


def _orders(device: Device, x: Tensor, axes: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Functions that reorder x's physical array so that the elements to normalise come last, and back.

    Images are (N, H, W, C) in memory. Over all of C, H, W any order will do; over fewer it must be the logical one.
    """
    if x.ndim != 4 or axes >= 3:
        return (lambda a: a), (lambda a: a)
    return (lambda a: to_logical_order(device, a)), (lambda a: to_physical_order(device, a))


def _in_order_of(device: Device, t: Tensor, x: Tensor) -> Any:
    """Weight or bias, flat, in the order of a row of x."""
    if x.ndim == 4 and t.ndim == 3:  # (C, H, W), where x has (H, W, C)
        return to_physical_order(device, t._physical.reshape(1, *t.shape)).reshape(-1)
    if x.ndim > 4 and t.ndim == 4:  # channels last, where x is in logical order
        return to_logical_order(device, t._physical).reshape(-1)
    return t._physical.reshape(-1)


def _back_in_order(device: Device, gradient: Any, shape: tuple[int, ...], x: Tensor) -> Any:
    """A flat gradient of weight or bias as the physical array of ``shape``."""
    if x.ndim == 4 and len(shape) == 3:
        c, h, w = shape
        return to_logical_order(device, gradient.reshape(1, h, w, c)).reshape(shape)
    if x.ndim > 4 and len(shape) == 4:
        return to_physical_order(device, gradient.reshape(shape))
    return gradient.reshape(physical_shape(shape))


def _check(x: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None) -> None:
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(_OP)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if x.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"{here(_OP)}: expected x of shape (..., {', '.join(map(str, shape))}) to match normalized_shape; "
            f"got {x.shape}."
        )
    for name, other in (("weight", weight), ("bias", bias)):
        if other is None:
            continue
        if other.device is not x.device:
            same_device(_OP, x.device, other.device)
        if other.shape != shape:
            raise ShapeError(f"{here(_OP)}: {name}: expected shape {shape}, normalized_shape; got {other.shape}.")
        if not goes_with(x.dtype, other.dtype):
            raise DTypeError(f"{here(_OP)}: {name}: expected {x.dtype} as x has; got {other.dtype}.")
