"""Sums and means over axes (``kernels/reduce.cu``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import logical, physical, physical_axes, physical_shape
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.cpu.sums import sum_on_cpu
from gpunn.errors import DTypeError, here
from gpunn.gpu.broadcast import launch_repeat
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.cast import cast
from gpunn.ops.permute import in_shape
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",))
def sum_axes(xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool, factor: float) -> Any:
    """factor * sum of a logical array over ``axes``; the result is physical. Integers are added in int64.

    Added in float64, so that the error does not grow with the number of elements.
    """
    y = x.sum(axis=axes, keepdims=keepdims, dtype=np.float64 if x.dtype.kind in FLOATING else np.int64)
    y = xp.asarray(y * factor if factor != 1.0 else y)
    return physical(y.astype(x.dtype) if x.dtype.kind in FLOATING else y)


@sum_axes.numpy
def _(x: np.ndarray, axes: tuple[int, ...], keepdims: bool, factor: float) -> np.ndarray:
    y = sum_on_cpu(x, axes)
    if factor != 1.0:
        with quiet():
            y = np.asarray(y * y.dtype.type(factor))
    return physical(y.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else y)


def countable(device: Device, x: Any) -> Any:
    """A contiguous array for a reduction: floats unchanged, all else converted to int64."""
    return x if x.dtype.kind in FLOATING or x.dtype == np.int64 else cast(device, x, np.int64)


def left_of(device: Device, kept: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """A physical result with the reduced (logical) axes kept, or without them."""
    if keepdims or not axes:
        return kept
    shape = logical(kept).shape
    return in_shape(device, kept, tuple(n for a, n in enumerate(shape) if a not in axes))


def with_axes(device: Device, dy: Any, kept: tuple[int, ...]) -> Any:
    """The logical view, of shape ``kept``, of a physical gradient that may lack the reduced axes."""
    return logical(in_shape(device, dy, kept))


@sum_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...], keepdims: bool, factor: float) -> Any:
    source = countable(device, physical(x))
    end = "as_it_is" if factor == 1.0 else "scaled"
    y = reduce_axes(device, source, physical_axes(axes, x.ndim), "sum", end=end, number=factor)
    return left_of(device, y, axes, keepdims)


@primitive(returns=("dx",))
def spread(xp: Any, dy: Any, shape: tuple[int, ...], factor: float) -> Any:
    """factor * dy repeated to a logical ``shape``; the result is physical."""
    with quiet():
        return physical(xp.broadcast_to(dy * dy.dtype.type(factor), shape))


@spread.kernel
def _(device: Device, dy: Any, shape: tuple[int, ...], factor: float) -> Any:
    padded = dy.reshape((1,) * (len(shape) - dy.ndim) + tuple(dy.shape))
    return launch_repeat(device, physical(padded), physical_shape(shape), factor)


def _reduce(op: str, x: Tensor, dim: int | Sequence[int] | None, keepdim: bool, average: bool) -> Tensor:
    axes, device, shape = axes_of(op, x, dim, keepdim=keepdim), x.device, x.shape
    if average and x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    count = math.prod(shape[a] for a in axes)
    factor = (1.0 / count if count else math.nan) if average else 1.0
    y = sum_axes(device, x.array, axes, keepdim, factor)
    kept = kept_shape(shape, axes)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (spread(device, with_axes(device, dy, kept), shape, factor),)

    if x.dtype.kind not in FLOATING:
        return Tensor._of_physical(y, device)
    return record(op, y, device, (x,), backward)


def sum_(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over ``dim``; integers and bools give int64.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    dtype : dtype, optional
        Convert to it first.
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("sum_", x)
    return _reduce("sum", x if dtype is None else x.to(dtype=dtype), dim, keepdim, average=False)


def mean(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over ``dim``; NaN where there are no elements.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    dtype : dtype, optional
        Convert to it first.
    """
    return _reduce("mean", x if dtype is None else x.to(dtype=dtype), dim, keepdim, average=True)
