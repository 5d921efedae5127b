"""Variance and standard deviation over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import logical, physical, physical_axes
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, here
from gpunn.gpu.broadcast import launch_spread
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.sum import left_of, with_axes
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y", "mean"), wide=("mean",))
def variance_axes(xp: Any, x: Any, axes: tuple[int, ...], divisor: float, root: bool) -> tuple[Any, Any]:
    """y = sum((x - mean)^2) / divisor of a logical array, or its root; both physical, axes kept.

    In float64, with the mean subtracted before squaring, so that sums do not lose digits. What is left has a mean of
    its own, as far as the first was rounded.
    """
    with quiet():
        count = np.float64(math.prod(x.shape[a] for a in axes))
        mean = x.sum(axis=axes, keepdims=True, dtype=np.float64) / count
        away = x - mean
        rest = away.sum(axis=axes, keepdims=True)
        squares = (away * away).sum(axis=axes, keepdims=True) - rest * rest / count
        mean = mean + rest / count
        y = xp.asarray(xp.maximum(squares, 0) / np.float64(divisor))
        y = xp.sqrt(y) if root else y
        return physical(xp.asarray(y.astype(x.dtype))), physical(xp.asarray(xp.asarray(mean).astype(x.dtype)))


@variance_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...], divisor: float, root: bool) -> tuple[Any, Any]:
    """Two passes: the mean, then the squared distances from it."""
    count = math.prod(x.shape[a] for a in axes)
    x, over = physical(x), physical_axes(axes, x.ndim)
    mean = reduce_axes(device, x, over, "sum", end="divided", number=count)
    end = "root_of_divided" if root else "divided"
    return reduce_axes(device, x, over, "away_squared", beside=mean, end=end, number=divisor), mean


@primitive(returns=("dx",))
def variance_backward(xp: Any, dy: Any, x: Any, mean: Any, std: Any, divisor: float) -> Any:
    """dx = 2 dy (x - mean) / divisor, or with ``std`` divided by 2 std, 0 where that is 0; logical in, physical out."""
    with quiet():
        if std is None:
            scaled = 2 * dy
        else:
            scaled = xp.where(std == 0, dy.dtype.type(0), dy / std)
        return physical(scaled * (x - mean) / x.dtype.type(divisor))


@variance_backward.kernel
def _(device: Device, dy: Any, x: Any, mean: Any, std: Any, divisor: float) -> Any:
    kept = physical(mean), None if std is None else physical(std), divisor
    return launch_spread(device, "variance_backward", physical(x), physical(dy), kept)


def _variance(op: str, x: Tensor, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None) -> Tensor:
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if isinstance(dim, bool):  # PyTorch's var(unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1.0 if unbiased is None else float(unbiased)
    axes, device, source = axes_of(op, x, dim, keepdim=keepdim), x.device, x.array
    divisor = max(math.prod(x.shape[a] for a in axes) - correction, 0.0)
    kept, mean = variance_axes(device, source, axes, divisor, op == "std")
    shape = kept_shape(x.shape, axes)
    y = left_of(device, kept, axes, keepdim)
    std, mean = logical(kept) if op == "std" else None, logical(mean)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (variance_backward(device, with_axes(device, dy, shape), source, mean, std, divisor),)

    return record(op, y, device, (x,), backward, saves=(x,), keeps=op == "std")


def var(
    x: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over ``dim``: the sum of squared distances from the mean, divided by their number - correction.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if None. A bool in its place is taken for ``unbiased``.
    unbiased : bool, optional
        True for a correction of 1, False for 0.
    keepdim : bool
        Keep the axes with length 1.
    correction : number, optional
        1 if neither this nor ``unbiased`` is given.

    Returns
    -------
    Tensor
        NaN where there are too few elements.
    """
    return _variance("var", x, dim, unbiased, keepdim, correction)


def std(
    x: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Standard deviation over ``dim``; where it is 0, so is the gradient.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if None. A bool in its place is taken for ``unbiased``.
    unbiased : bool, optional
        True for a correction of 1, False for 0.
    keepdim : bool
        Keep the axes with length 1.
    correction : number, optional
        1 if neither this nor ``unbiased`` is given.

    Returns
    -------
    Tensor
        NaN where there are too few elements.
    """
    return _variance("std", x, dim, unbiased, keepdim, correction)
