"""Products over axes (``kernels/reduce.cu``, ``spread.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import physical, physical_axes
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.broadcast import SPREAD
from gpunn.gpu.launcher import c_type, ceil_div
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.sum import countable, left_of, with_axes
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",))
def prod_axis(xp: Any, x: Any, axis: int) -> Any:
    """Product along ``axis`` of a logical array, which is kept; physical."""
    with quiet():
        return physical(x.prod(axis=axis, keepdims=True, dtype=x.dtype if x.dtype.kind in FLOATING else np.int64))


@prod_axis.kernel
def _(device: Device, x: Any, axis: int) -> Any:
    return reduce_axes(device, countable(device, physical(x)), physical_axes((axis,), x.ndim), "prod")


@primitive(returns=("dx",))
def prod_backward(xp: Any, dy: Any, x: Any, axis: int) -> Any:
    """dx[i] = dy times the product of all others, correct also where elements are 0; logical in, physical out."""
    if x.shape[axis] == 0:
        return physical(xp.zeros_like(x))
    ends = [slice(None)] * x.ndim
    ends[axis] = slice(0, -1)
    one = xp.ones([1 if a == axis else n for a, n in enumerate(x.shape)], x.dtype)
    with quiet():
        before = xp.concatenate([one, xp.cumprod(x, axis=axis)[tuple(ends)]], axis=axis)
        after = xp.concatenate([one, xp.cumprod(xp.flip(x, axis), axis=axis)[tuple(ends)]], axis=axis)
        return physical(dy * before * xp.flip(after, axis))


@prod_backward.kernel
def _(device: Device, dy: Any, x: Any, axis: int) -> Any:
    dy, x, (at,) = physical(dy), physical(x), physical_axes((axis,), x.ndim)
    dx = device.empty(x.shape, x.dtype)
    if dx.size:
        sizes = (dy.size, x.shape[at], math.prod(x.shape[at + 1 :]))
        grid = (ceil_div(dy.size, 256), 1, 1)
        SPREAD.launch(device, "prod_backward", grid, 256, (dx, dy, x, *sizes), REAL=c_type(x.dtype, "prod"))
    return dx


def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product of all elements or along an axis; integers give int64.

    Parameters
    ----------
    x : Tensor
    dim : int, optional
        Axis; all elements if None.
    keepdim : bool
        Keep the axis with length 1.
    dtype : dtype, optional
        Convert to it first.
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("prod", x)
    if dtype is not None:
        x = x.to(dtype=dtype)
    if dim is None or not x.ndim:
        return prod(x.reshape(-1), 0).reshape((1,) * x.ndim if keepdim else ())
    (axis,) = axes_of("prod", x, dim, keepdim=keepdim)
    device, source = x.device, x.array
    kept = prod_axis(device, source, axis)
    y = left_of(device, kept, (axis,), keepdim)
    shape = kept_shape(x.shape, (axis,))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (prod_backward(device, with_axes(device, dy, shape), source, axis),)

    if x.dtype.kind not in FLOATING:
        return Tensor._of_physical(y, device)
    return record("prod", y, device, (x,), backward, saves=(x,))
