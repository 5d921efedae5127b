"""The p-norm of a tensor's elements, over all or some axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import logical, physical, physical_axes
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, UsageError, here
from gpunn.gpu.broadcast import launch_spread
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.sum import left_of, with_axes
from gpunn.ops.unary import sign_array
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",))
def norm_axes(xp: Any, x: Any, axes: tuple[int, ...], p: float) -> Any:
    """y = (sum |x|^p)^(1/p) of a logical array over ``axes``, which are kept; summed in float64. y is physical."""
    with quiet():
        if p == 0:
            y = (x != 0).sum(axis=axes, keepdims=True, dtype=np.float64)
        elif math.isinf(p):
            y = (xp.max if p > 0 else xp.min)(xp.abs(x), axis=axes, keepdims=True)
        elif p == 1:
            y = xp.abs(x).sum(axis=axes, keepdims=True, dtype=np.float64)
        else:
            wide = x.astype(np.float64)
            powers = wide * wide if p == 2 else xp.abs(wide) ** p
            y = powers.sum(axis=axes, keepdims=True)
            y = xp.sqrt(y) if p == 2 else y ** (1 / p)
        return physical(xp.asarray(y).astype(x.dtype))


@norm_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...], p: float) -> Any:
    source, over = physical(x), physical_axes(axes, x.ndim)
    if math.isinf(p):
        return reduce_axes(device, source, over, "max_abs" if p > 0 else "min_abs")
    if p in (0, 1):
        return reduce_axes(device, source, over, "abs" if p else "nonzero")
    if p == 2:
        return reduce_axes(device, source, over, "square", end="root")
    return reduce_axes(device, source, over, "power", p=p, end="to_the_power", number=1 / p)


@primitive(returns=("dx",))
def norm_backward(xp: Any, dy: Any, x: Any, y: Any, axes: tuple[int, ...], p: float) -> Any:
    """dx = dy sign(x) (|x| / y)^(p-1), 0 where y is 0; logical arrays in, dx physical."""
    zero = dy.dtype.type(0)
    with quiet():
        if p == 0:
            dx = xp.zeros_like(x)
        elif p == 1:
            dx = sign_array(xp, x) * dy
        elif math.isinf(p):
            won = (xp.abs(x) == y) | (x != x)  # else nothing has won where one is NaN
            dx = sign_array(xp, x) * won * (dy / won.sum(axis=axes, keepdims=True).astype(dy.dtype))
        elif p == 2:
            dx = xp.where(y == 0, zero, dy * (x / y))  # dy / y may overflow
        else:
            dx = sign_array(xp, x) * (xp.abs(x) / xp.where(y == 0, dy.dtype.type(1), y)) ** dy.dtype.type(p - 1) * dy
            dx = xp.where((y == 0) | (x == 0), zero, dx) if p < 1 else xp.where(y == 0, zero, dx)
        return physical(dx)


# In the order of spread.cu.
_SIGN, _X, _POWER, _NOTHING, _SHARE = range(5)


@norm_backward.kernel
def _(device: Device, dy: Any, x: Any, y: Any, axes: tuple[int, ...], p: float) -> Any:
    dy, x, y, over = physical(dy), physical(x), physical(y), physical_axes(axes, x.ndim)
    count = reduce_axes(device, x, over, "abs_equal_or_nan", beside=y) if math.isinf(p) else None
    kind = _SHARE if math.isinf(p) else {0.0: _NOTHING, 1.0: _SIGN, 2.0: _X}.get(p, _POWER)
    return launch_spread(device, "norm_backward", x, dy, (y, count, 0.0 if math.isinf(p) else p, kind))


def norm(
    x: Tensor,
    p: float | str | None = "fro",
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """(sum |x|^p)^(1/p) over ``dim``: the p-norm of x's elements, viewed as a vector.

    Parameters
    ----------
    x : Tensor
        Floating.
    p : float or "fro"
        2 for "fro" or None; 0 counts the elements that are not 0; inf and -inf take the largest and smallest |x|.
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    dtype : dtype, optional
        Convert to it first.

    Returns
    -------
    Tensor
        The gradient is 0 where the norm is 0.

    Raises
    ------
    UsageError
        If p is any other string.
    DTypeError
        If x is not floating.
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("norm", x)
    if dtype is not None:
        x = x.to(dtype=dtype)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here('norm')}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if isinstance(p, str) and p != "fro":
        raise UsageError(f"{here('norm')}: p: expected a number or 'fro'; got {p!r}.")
    order = 2.0 if p is None or isinstance(p, str) else float(p)
    axes, device, source = axes_of("norm", x, dim, keepdim=keepdim), x.device, x.array
    if math.isinf(order) and any(x.shape[a] == 0 for a in axes):
        raise UsageError(f"{here('norm')}: p={order}: no largest or smallest element in shape {x.shape}.")
    kept = norm_axes(device, source, axes, order)
    shape = kept_shape(x.shape, axes)
    y = left_of(device, kept, axes, keepdim)
    whole = logical(kept)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (norm_backward(device, with_axes(device, dy, shape), source, whole, axes, order),)

    return record("norm", y, device, (x,), backward, saves=(x,), keeps=True)
