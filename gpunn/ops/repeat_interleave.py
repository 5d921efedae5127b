"""Each element several times in a row: by repeating an axis, or by indices where the numbers differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.getitem import index_select


def repeat_interleave(x: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: Any = None) -> Tensor:
    """Each element, or each slice along ``dim``, repeated in place.

    Parameters
    ----------
    x : Tensor
        Without ``repeats`` it is the repeats: the result is index k x[k] times, for all k.
    repeats : int or Tensor, (N,)
        How often; a tensor of int64 or int32 has one number for each slice, and its values are read.
    dim : int, optional
        The axis; if None, x is one line of all its elements.
    output_size : int, optional
        The result's length along ``dim``, which is checked.

    Raises
    ------
    UsageError
        If a number is negative, or ``output_size`` is not the sum.
    ShapeError
        If there are not as many numbers as slices.

    Examples
    --------
    >>> import gpunn
    >>> repeat_interleave(gpunn.tensor([1, 2]), 2).tolist()
    [1, 1, 2, 2]
    """
    op = "repeat_interleave"
    if repeats is None:
        if x.ndim != 1:
            raise ShapeError(f"{here(op)}: expected a line of numbers of repeats; got shape {x.shape}.")
        return tensor(_index(op, x, x.numel(), output_size), device=x.device)
    if dim is None:
        x, dim = x.reshape(-1), 0
    axis = axis_of(op, x, dim)
    if not x.ndim:
        return repeat_interleave(x.reshape(1), repeats, 0, output_size=output_size)
    n = x.shape[axis]
    if isinstance(repeats, Tensor):
        return index_select(x, axis, tensor(_index(op, repeats, n, output_size), device=x.device))
    times = whole_number(op, "repeats", repeats, 0)
    _check_size(op, n * times, output_size)
    wide = x.unsqueeze(axis + 1).expand(*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    return wide.reshape(*x.shape[:axis], n * times, *x.shape[axis + 1 :])


def _index(op: str, repeats: Tensor, n: int, output_size: Any) -> np.ndarray:
    if repeats.dtype.name not in ("int64", "int32"):
        raise DTypeError(f"{here(op)}: repeats: expected int64 or int32; got {repeats.dtype}. Convert with .long().")
    if repeats.ndim > 1 or repeats.numel() not in (1, n):
        raise ShapeError(f"{here(op)}: repeats: expected one number, or one for each of {n}; got {repeats.shape}.")
    counts = repeats.numpy().reshape(-1)
    if (counts < 0).any():
        raise UsageError(f"{here(op)}: repeats: expected numbers of at least 0; got {int(counts.min())}.")
    _check_size(op, int(np.broadcast_to(counts, n).sum()), output_size)
    return np.repeat(np.arange(n), np.broadcast_to(counts, n))


def _check_size(op: str, found: int, output_size: Any) -> None:
    if output_size is not None and whole_number(op, "output_size", output_size) != found:
        raise UsageError(f"{here(op)}: output_size: expected {found}, the sum of the repeats; got {output_size}.")
