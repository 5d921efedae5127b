"""Turning tensors, and matrices with something on a diagonal or in a triangle: functions made of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._creation import full, tensor, zeros
from gpunn._shared.axes import axis_of
from gpunn._shared.counted import counted
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.cat import stack
from gpunn.ops.compare import compare
from gpunn.ops.flip import flip
from gpunn.ops.permute import transpose
from gpunn.ops.where import where

# -- turning --------------------------------------------------------------------------------------


def fliplr(x: Tensor) -> Tensor:
    """The second axis in the opposite order.

    Parameters
    ----------
    x : Tensor
        With at least two axes.
    """
    if x.ndim < 2:
        raise ShapeError(f"{here('fliplr')}: expected at least two axes; got shape {x.shape}.")
    return flip(x, (1,))


def flipud(x: Tensor) -> Tensor:
    """The first axis in the opposite order.

    Parameters
    ----------
    x : Tensor
        With at least one axis.
    """
    if not x.ndim:
        raise ShapeError(f"{here('flipud')}: expected at least one axis; got shape {x.shape}.")
    return flip(x, (0,))


def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by ``k`` quarters in the plane of two axes, from the first one towards the second.

    Parameters
    ----------
    x : Tensor
        With at least two axes.
    k : int
        How many quarters; negative ones turn back.
    dims : sequence of two int
        The axes.

    Raises
    ------
    UsageError
        If these are not two different axes.
    """
    op = "rot90"
    axes = tuple(axis_of(op, x, d) for d in dims) if isinstance(dims, list | tuple) else ()
    if len(axes) != 2 or axes[0] == axes[1]:
        raise UsageError(f"{here(op)}: dims: expected two different axes of shape {x.shape}; got {dims!r}.")
    quarters = whole_number(op, "k", k) % 4
    if quarters == 2:
        return flip(x, axes)
    if quarters == 1:
        return flip(transpose(x, *axes), (axes[0],))
    return transpose(flip(x, (axes[0],)), *axes) if quarters == 3 else x.clone()


# -- diagonals and triangles ----------------------------------------------------------------------


def diag_embed(x: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last axis of x along their diagonals, and 0 elsewhere.

    Parameters
    ----------
    x : Tensor
        With at least one axis.
    offset : int
        Above the main diagonal, or if negative below.
    dim1, dim2 : int
        Where the matrices' axes are in the result.

    Raises
    ------
    UsageError
        If these are the same axis.
    """
    op = "diag_embed"
    if not x.ndim:
        raise ShapeError(f"{here(op)}: expected at least one axis; got shape {x.shape}.")
    shift, axes = whole_number(op, "offset", offset), x.ndim + 1
    places = [whole_number(op, "dim", d) for d in (dim1, dim2)]
    if any(not -axes <= d < axes for d in places) or places[0] % axes == places[1] % axes:
        raise UsageError(f"{here(op)}: dim1 and dim2: expected two of {axes} axes; got {dim1} and {dim2}.")
    length = x.shape[-1]
    side, row = length + abs(shift), max(-shift, 0)
    lines = counted(side, x.device)
    # Row i holds element i - row, in the column beyond it.
    marks = compare("eq", lines.unsqueeze(1) + shift, lines)
    index = (lines - row).clamp(0, max(length - 1, 0))
    # Of nothing zeros, which are sums of it, so that the result is on the tape.
    spread = x.index_select(-1, index) if length else x.sum(-1, keepdim=True).expand(*x.shape[:-1], side)
    made = where(marks, spread.unsqueeze(-1), 0).to(x.dtype)
    return made.movedim((-2, -1), (places[0], places[1]))


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of x along a diagonal, and 0 elsewhere.

    Parameters
    ----------
    x : Tensor
    offset : int
        Above the main diagonal, or if negative below.
    """
    return diag_embed(x.reshape(-1), offset)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Rows and columns of the lower triangle of a matrix, row by row.

    Parameters
    ----------
    row, col : int
        The matrix' lengths.
    offset : int
        The last diagonal that belongs to it.
    dtype : dtype, optional
        int64 if not given.
    device : Device or str, optional

    Returns
    -------
    Tensor, (2, n)
    """
    return _triangle("tril_indices", row, col, offset, dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Rows and columns of the upper triangle of a matrix, row by row.

    Parameters
    ----------
    row, col : int
        The matrix' lengths.
    offset : int
        The first diagonal that belongs to it.
    dtype : dtype, optional
        int64 if not given.
    device : Device or str, optional

    Returns
    -------
    Tensor, (2, n)
    """
    return _triangle("triu_indices", row, col, offset, dtype, device)


def _triangle(op: str, row: Any, col: Any, offset: Any, dtype: Any, device: Any) -> Tensor:
    rows, columns = whole_number(op, "row", row, 0), whole_number(op, "col", col, 0)
    shift = whole_number(op, "offset", offset)
    if op == "tril_indices":
        found = np.tril_indices(rows, shift, columns)
    else:
        found = np.triu_indices(rows, shift, columns)
    return tensor(np.array(found, np.int64), dtype=dtype or "int64", device=device or "cpu")


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements, a column each, the highest first.

    Parameters
    ----------
    x : Tensor, (M,)
    N : int, optional
        How many columns; M if not given.
    increasing : bool
        The lowest power first.

    Raises
    ------
    ShapeError
        If x is no vector.
    """
    op = "vander"
    if x.ndim != 1:
        raise ShapeError(f"{here(op)}: expected a vector; got shape {x.shape}.")
    count = x.shape[0] if N is None else whole_number(op, "N", N, 0)
    powers = [full(x.shape, 1, dtype=x.dtype, device=x.device)][:count]
    while len(powers) < count:
        powers.append(powers[-1] * x)
    if not powers:
        return zeros(x.shape[0], 0, dtype=x.dtype, device=x.device)
    return stack(powers if increasing else powers[::-1], 1)
