"""Where numbers belong among sorted ones, and how many lie in each interval. No gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import same_device
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Before which element of each sorted row a number belongs; NumPy finds it on the host.

    Parameters
    ----------
    sorted_sequence : Tensor, (N,) or (..., N)
        In order along the last axis.
    input : number, or Tensor, any shape or (..., M)
        With the same first axes, unless the sequence is one row.
    out_int32 : bool
        int32 instead of int64.
    right : bool
        Whether a number belongs behind elements that equal it.
    side : str, optional
        ``"left"`` or ``"right"``: the same as a word.
    sorter : Tensor, optional
        The order of a sequence that is not sorted, as of ``argsort``.

    Returns
    -------
    Tensor
        Of the shape of ``input``.

    Raises
    ------
    ShapeError
        If the first axes differ.
    UsageError
        If ``side`` is something else, or the opposite of ``right``.
    """
    op = "searchsorted"
    if side not in (None, "left", "right") or (right and side == "left"):
        raise UsageError(f"{here(op)}: side: expected 'left' or 'right' as right={right} says; got {side!r}.")
    return _searched(op, sorted_sequence, input, right or side == "right", out_int32, sorter)


def bucketize(x: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """In which interval between boundaries each number lies; NumPy finds it on the host.

    Parameters
    ----------
    x : number or Tensor
    boundaries : Tensor, (N,)
        In order.
    out_int32 : bool
        int32 instead of int64.
    right : bool
        Whether a boundary belongs to the interval before it.

    Returns
    -------
    Tensor
        Of x's shape: how many boundaries are below.

    Raises
    ------
    ShapeError
        If the boundaries are no vector.
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"{here('bucketize')}: boundaries: expected (N,); got shape {boundaries.shape}.")
    return _searched("bucketize", boundaries, x, right, out_int32, None)


def _searched(op: str, rows: Tensor, values: Any, right: Any, narrow: Any, sorter: Tensor | None) -> Tensor:
    if isinstance(values, Tensor):
        same_device(op, rows.device, values.device)
        wanted = values._numpy_without_tape()
    else:
        wanted = np.asarray(real_number(op, "values", values, finite=False))
    line = rows._numpy_without_tape()
    if sorter is not None:
        if sorter.shape != rows.shape:
            raise ShapeError(f"{here(op)}: sorter: expected the sequence's shape, {rows.shape}; got {sorter.shape}.")
        line = np.take_along_axis(line, sorter._numpy_without_tape(), -1)
    side: Any = "right" if right else "left"
    if line.ndim == 1:
        found = np.searchsorted(line, wanted, side)
    else:
        if wanted.ndim != line.ndim or wanted.shape[:-1] != line.shape[:-1]:
            raise ShapeError(
                f"{here(op)}: expected values with the first axes of the sequence, {line.shape[:-1]}; got shape "
                f"{wanted.shape}."
            )
        found = np.empty(wanted.shape, np.int64)
        for place in np.ndindex(line.shape[:-1]):
            found[place] = np.searchsorted(line[place], wanted[place], side)
    return tensor(np.asarray(found, np.int32 if narrow else np.int64), device=rows.device)


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of equal intervals; NumPy counts on the host.

    Parameters
    ----------
    x : Tensor
        Floating.
    bins : int
        How many intervals.
    min, max : float
        The ends, which belong to them; elements outside do not count. If equal, those of the elements.

    Returns
    -------
    Tensor, (bins,)
        Of x's dtype.

    Raises
    ------
    UsageError
        If the ends are not finite, or in the wrong order.
    """
    op, count = "histc", whole_number("histc", "bins", bins, 1)
    if x.dtype.kind != "f":
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    low, high = real_number(op, "min", min), real_number(op, "max", max)
    values = x._numpy_without_tape().reshape(-1)
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not low < high or not np.isfinite(high - low):
        raise UsageError(f"{here(op)}: expected finite ends with min below max; got {low:g} and {high:g}.")
    inside = values[(values >= low) & (values <= high)].astype(np.float64)
    places = ((inside - low) / (high - low) * count).astype(np.int64)
    counts = np.bincount(np.minimum(places, count - 1), minlength=count)
    return tensor(counts.astype(x.dtype), device=x.device)
