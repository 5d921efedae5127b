"""Statistics of all elements or along axes: functions made of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.ops.compare import compare, isnan
from gpunn.ops.max import amax, amin
from gpunn.ops.sum import mean, sum_
from gpunn.ops.var import std, var
from gpunn.ops.where import masked_fill


class Limits(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Limits:
    """The smallest and the largest element; ties share the gradient.

    Parameters
    ----------
    x : Tensor
    dim : int, optional
        An axis; all if not given.
    keepdim : bool
        Keep the axis with length 1.

    Returns
    -------
    (min, max)
    """
    return Limits(amin(x, dim, keepdim), amax(x, dim, keepdim))


def std_mean(
    x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean, as of :func:`gpunn.std` and :func:`gpunn.mean`.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if not given.
    unbiased : bool, optional
        Whether to divide by the number of elements - 1, as is done if it is not given.
    keepdim : bool
        Keep the axes with length 1.
    correction : float, optional
        What to take away from the number of elements instead.
    """
    axes = None if isinstance(dim, bool) else dim
    return std(x, dim, unbiased, keepdim, correction=correction), mean(x, axes, keepdim)


def var_mean(
    x: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The variance and the mean, as of :func:`gpunn.var` and :func:`gpunn.mean`.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if not given.
    unbiased : bool, optional
        Whether to divide by the number of elements - 1, as is done if it is not given.
    keepdim : bool
        Keep the axes with length 1.
    correction : float, optional
        What to take away from the number of elements instead.
    """
    axes = None if isinstance(dim, bool) else dim
    return var(x, dim, unbiased, keepdim, correction=correction), mean(x, axes, keepdim)


def nansum(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of the elements that are not NaN.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if not given.
    keepdim : bool
        Keep the axes with length 1.
    dtype : dtype, optional
        Convert first.
    """
    return sum_(masked_fill(x, isnan(x), 0) if x.dtype.kind in FLOATING else x, dim, keepdim, dtype=dtype)


def nanmean(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that are not NaN; NaN where there are none.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if not given.
    keepdim : bool
        Keep the axes with length 1.
    dtype : dtype, optional
        Convert first.
    """
    total = nansum(x, dim, keepdim, dtype=dtype)
    return total / sum_(compare("eq", x, x).detach(), dim, keepdim).to(total.dtype)
