"""Running values along an axis, differences and sums over them: functions made of other ops."""

from __future__ import annotations

from typing import Any

from gpunn._autocast import casting
from gpunn._creation import ones_like
from gpunn._half import FLOATING
from gpunn._shared.axes import axis_of
from gpunn._shared.counted import counted
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.composed.ordered import Found
from gpunn.errors import ShapeError, here
from gpunn.ops.cat import cat
from gpunn.ops.compare import compare, isnan
from gpunn.ops.gather import gather
from gpunn.ops.getitem import narrow
from gpunn.ops.sum import sum_
from gpunn.ops.where import where


def _shifted(x: Tensor, axis: int, by: int, first: Tensor) -> Tensor:
    """x moved ``by`` places along the axis, with ``first`` in front."""
    return cat([first, narrow(x, axis, 0, x.shape[axis] - by)], axis)


def cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The products of the elements up to each place along an axis, in log2(length) steps.

    Parameters
    ----------
    x : Tensor
        Integers are multiplied in int64.
    dim : int
        The axis.
    dtype : dtype, optional
        Convert first.
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("cumprod", x)
    axis = axis_of("cumprod", x, dim)
    if dtype is not None:
        x = x.to(dtype)
    elif x.dtype.kind not in FLOATING:
        x = x.long()
    y, by = x if x.ndim else x.reshape(1), 1
    while by < y.shape[axis]:
        y = y * _shifted(y, axis, by, ones_like(narrow(y, axis, 0, by)))
        by *= 2
    return y.reshape(x.shape) if y is not x else x.clone()


def cummax(x: Tensor, dim: int) -> Found:
    """The largest element up to each place along an axis, and where it is; of several the last. NaN wins.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.

    Returns
    -------
    (values, indices)
    """
    return _cumulated("cummax", "gt", x, dim)


def cummin(x: Tensor, dim: int) -> Found:
    """The smallest element up to each place along an axis, and where it is; of several the last. NaN wins.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.

    Returns
    -------
    (values, indices)
    """
    return _cumulated("cummin", "lt", x, dim)


def _cumulated(op: str, better: str, x: Tensor, dim: int) -> Found:
    axis = axis_of(op, x, dim)
    if not x.ndim:
        found = _cumulated(op, better, x.reshape(1), 0)
        return Found(found.values.reshape(()), found.indices.reshape(()))
    length, by = x.shape[axis], 1
    places = counted(length, x.device).reshape([-1 if a == axis else 1 for a in range(x.ndim)]).expand(x.shape)
    values = x.detach()
    while by < length:
        earlier = _shifted(values, axis, by, narrow(values, axis, 0, by))
        before = _shifted(places, axis, by, narrow(places, axis, 0, by))
        wins = compare(better, earlier, values)
        if x.dtype.kind in FLOATING:
            wins = (wins | isnan(earlier)) & ~isnan(values)
        values, places = where(wins, earlier, values), where(wins, before, places)
        by *= 2
    return Found(gather(x, axis, places), places)


def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences of neighbours along an axis, ``n`` times.

    Parameters
    ----------
    x : Tensor
        With at least one axis.
    n : int
        How often.
    dim : int
        The axis.
    prepend, append : Tensor, optional
        Put before and behind x first.
    """
    op = "diff"
    if not x.ndim:
        raise ShapeError(f"{here(op)}: expected at least one axis; got shape {x.shape}.")
    axis, times = axis_of(op, x, dim), whole_number(op, "n", n, 0)
    parts = [t for t in (prepend, x, append) if t is not None]
    y = cat(parts, axis) if len(parts) > 1 else x
    for _ in range(times):
        rest = max(y.shape[axis] - 1, 0)
        later, earlier = narrow(y, axis, min(1, y.shape[axis]), rest), narrow(y, axis, 0, rest)
        y = compare("ne", later, earlier) if y.dtype.kind == "b" else later - earlier
    return y if times else y.clone()


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integral of y along an axis by the trapezoidal rule.

    Parameters
    ----------
    y : Tensor
        Floating.
    x : Tensor, optional
        Where y was taken, (N,) or with y's axes.
    dx : float
        The distance between neighbours where x is not given.
    dim : int
        The axis.
    """
    return _trapezoid("trapezoid", y, x, dx, dim)


def trapz(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """Another name of :func:`gpunn.trapezoid`.

    Parameters
    ----------
    y, x : Tensor
    dx : float
    dim : int
    """
    return _trapezoid("trapz", y, x, dx, dim)


def _trapezoid(op: str, y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    axis = axis_of(op, y, dim)
    if not y.ndim or not y.shape[axis]:
        raise ShapeError(f"{here(op)}: expected values along an axis; got shape {y.shape}.")
    rest = y.shape[axis] - 1
    pairs = narrow(y, axis, 1, rest) + narrow(y, axis, 0, rest)
    if x is None:
        return sum_(pairs, axis) * (dx / 2)
    if x.ndim == 1:
        x = x.reshape([-1 if a == axis else 1 for a in range(y.ndim)])
    return sum_(pairs * diff(x, 1, axis if x.ndim == y.ndim else dim), axis) / 2
