"""Elements by their order along an axis: functions made of ``sort``. A captured step refuses ``mode``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gpunn._autocast import casting
from gpunn._creation import tensor
from gpunn._half import FLOATING
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.cat import cat
from gpunn.ops.compare import isnan
from gpunn.ops.gather import gather
from gpunn.ops.getitem import narrow
from gpunn.ops.lerp import lerp
from gpunn.ops.sort import sort
from gpunn.ops.where import where


class Found(NamedTuple):
    """Values, and where along the axis they were."""

    values: Tensor
    indices: Tensor


def _ordered(op: str, x: Tensor, dim: int) -> tuple[Tensor, int, Any]:
    """x with at least one axis, the axis, and its elements in order."""
    axis = axis_of(op, x, dim)
    line = x if x.ndim else x.reshape(1)
    if not line.shape[axis]:
        raise ShapeError(f"{here(op)}: expected elements along axis {axis}; got shape {x.shape}.")
    return line, axis, sort(line, axis)


def _picked(x: Tensor, ordered: Any, axis: int, place: int, keepdim: bool, nan_wins: bool) -> Found:
    values, indices = (narrow(t, axis, place, 1) for t in ordered)
    if nan_wins and x.dtype.kind in FLOATING:
        # NaN stands last.
        last = x.shape[axis] - 1
        odd = isnan(narrow(ordered.values, axis, last, 1))
        values = where(odd, narrow(ordered.values, axis, last, 1), values)
        indices = where(odd, narrow(ordered.indices, axis, last, 1), indices)
    if keepdim and x.ndim:
        return Found(values, indices)
    return Found(values.squeeze(axis), indices.squeeze(axis))


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Found:
    """The ``k``-th smallest element along an axis, and where it is. NaN counts as larger than any number.

    Parameters
    ----------
    x : Tensor
    k : int
        From 1 to the length of the axis.
    dim : int
        The axis.
    keepdim : bool
        Keep the axis with length 1.

    Returns
    -------
    (values, indices)

    Raises
    ------
    UsageError
        If there are fewer than ``k`` elements.
    """
    op = "kthvalue"
    line, axis, ordered = _ordered(op, x, dim)
    place = whole_number(op, "k", k, 1)
    if place > line.shape[axis]:
        raise UsageError(f"{here(op)}: k: expected at most {line.shape[axis]}, the length of axis {axis}; got {k}.")
    return _picked(x if x.ndim else line, ordered, axis, place - 1, keepdim and x.ndim > 0, False)


def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle, the lower one of two; NaN if there is one.

    Parameters
    ----------
    x : Tensor
    dim : int, optional
        The axis; all elements if not given.
    keepdim : bool
        Keep the axis with length 1.

    Returns
    -------
    Tensor, or with an axis (values, indices)
    """
    if dim is None:
        flat = x.reshape(-1)
        line, axis, ordered = _ordered("median", flat, 0)
        return _picked(line, ordered, axis, (line.shape[0] - 1) // 2, False, True).values
    line, axis, ordered = _ordered("median", x, dim)
    return _picked(line, ordered, axis, (line.shape[axis] - 1) // 2, keepdim and x.ndim > 0, True)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Found:
    """The element that occurs most often along an axis, the smallest of several, and where it is last.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    keepdim : bool
        Keep the axis with length 1.

    Returns
    -------
    (values, indices)
    """
    line, axis, ordered = _ordered("mode", x, dim)
    values = np.moveaxis(ordered.values.detach().numpy(), axis, -1)
    # For each element in order: how many like it have come so far.
    lengths = np.ones(values.shape, np.int64)
    for i in range(1, values.shape[-1]):
        lengths[..., i] = np.where(values[..., i] == values[..., i - 1], lengths[..., i - 1] + 1, 1)
    place = tensor(np.expand_dims(lengths.argmax(-1), axis), device=x.device)
    indices = gather(ordered.indices, axis, place)
    found = gather(line, axis, indices)
    if keepdim and x.ndim:
        return Found(found, indices)
    return Found(found.squeeze(axis), indices.squeeze(axis))


_BETWEEN = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(
    x: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The number below which a share ``q`` of the elements lies; NaN if one is.

    Parameters
    ----------
    x : Tensor
        Floating.
    q : float, or Tensor without axes or (Q,)
        From 0 to 1.
    dim : int, optional
        The axis; all elements if not given.
    keepdim : bool
        Keep the axis with length 1.
    interpolation : str
        What is taken between two elements: ``"linear"``, ``"lower"``, ``"higher"``, ``"midpoint"`` or ``"nearest"``.

    Returns
    -------
    Tensor
        With an axis for several q in front.

    Raises
    ------
    UsageError
        If a share is not from 0 to 1, or the interpolation unknown.
    """
    if casting.on:
        (x,) = casting.inputs("quantile", x)
    return _quantile("quantile", x, q, dim, keepdim, interpolation)


def _quantile(op: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, between: str) -> Tensor:
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if between not in _BETWEEN:
        raise UsageError(f"{here(op)}: interpolation: expected one of {', '.join(_BETWEEN)}; got {between!r}.")
    shares: Any = q.detach().tolist() if isinstance(q, Tensor) else real_number(op, "q", q, 0, 1)
    several = isinstance(shares, list)
    flat = x.reshape(-1) if dim is None else x
    line, axis, ordered = _ordered(op, flat, 0 if dim is None else dim)
    last, found = line.shape[axis] - 1, []
    for share in shares if several else [shares]:
        # In x's own precision, as PyTorch finds the place.
        place = float(x.dtype.type(real_number(op, "q", share, 0, 1)) * x.dtype.type(last))
        low, high = math.floor(place), math.ceil(place)
        weight = place - low
        if between == "nearest":
            low = high = round(place)
        elif between != "linear":
            low, high = {"lower": (low, low), "higher": (high, high), "midpoint": (low, high)}[between]
            weight = 0.5
        below = narrow(ordered.values, axis, low, 1)
        value = below if low == high else lerp(below, narrow(ordered.values, axis, high, 1), weight)
        end = narrow(ordered.values, axis, last, 1)
        found.append(where(isnan(end), end, value))
    shaped = []
    for value in found:
        if not keepdim or not x.ndim:
            shaped.append(value.squeeze(axis))
        else:
            shaped.append(value.reshape((1,) * x.ndim) if dim is None else value)
    return cat([value.unsqueeze(0) for value in shaped], 0) if several else shaped[0]
