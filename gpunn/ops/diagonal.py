"""Diagonals of matrices, as strided slices, and matrices made of them: diagonal, diag, trace."""

from __future__ import annotations

from gpunn._autocast import casting
from gpunn._creation import zeros
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.cat import cat
from gpunn.ops.sum import sum_


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices along two axes, as a new last axis: a view.

    Parameters
    ----------
    x : Tensor
    offset : int
        0 is the main diagonal, 1 the next above, -1 the next below.
    dim1, dim2 : int
        The axes of rows and of columns.

    Raises
    ------
    ShapeError
        If x has fewer than two axes.
    UsageError
        If both axes are the same one.

    Examples
    --------
    >>> import gpunn
    >>> diagonal(gpunn.tensor([[1, 2], [3, 4]])).tolist()
    [1, 4]
    """
    op = "diagonal"
    if x.ndim < 2:
        raise ShapeError(f"{here(op)}: expected at least two axes; got shape {x.shape}.")
    offset, rows, columns = whole_number(op, "offset", offset), axis_of(op, x, dim1), axis_of(op, x, dim2)
    if rows == columns:
        raise UsageError(f"{here(op)}: dim1 and dim2: expected two axes; got {dim1} and {dim2}, which are one.")
    m, n = x.shape[rows], x.shape[columns]
    count = max(min(m + min(offset, 0), n - max(offset, 0)), 0)
    others = [a for a in range(x.ndim) if a not in (rows, columns)]
    matrices = x.permute(*others, rows, columns)
    flat = matrices.reshape(*matrices.shape[:-2], m * n)
    first = offset if offset >= 0 else -offset * n
    return flat[..., first : first + (count - 1) * (n + 1) + 1 : n + 1] if count else flat[..., :0]


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or a matrix with a vector on its diagonal and 0 elsewhere.

    Parameters
    ----------
    x : Tensor, (N,) or (M, N)
    diagonal : int
        0 is the main diagonal, 1 the next above, -1 the next below.

    Raises
    ------
    ShapeError
        If x has another number of axes.

    Examples
    --------
    >>> import gpunn
    >>> diag(gpunn.tensor([1, 2])).tolist()
    [[1, 0], [0, 2]]
    """
    if x.ndim not in (1, 2):
        raise ShapeError(f"{here('diag')}: expected a vector or a matrix; got shape {x.shape}.")
    offset = whole_number("diag", "diagonal", diagonal)
    if x.ndim == 2:
        return _diagonal(x, offset).clone()
    n, side = x.numel(), x.numel() + abs(offset)
    # Behind each element as many zeros as lie between it and the next one in memory.
    apart = cat([x.unsqueeze(1), zeros(n, side, dtype=x.dtype, device=x.device)], 1).reshape(-1)
    first = offset if offset >= 0 else -offset * side
    if first:
        apart = cat([zeros(first, dtype=x.dtype, device=x.device), apart])
    missing = side * side - apart.numel()
    if missing > 0:
        apart = cat([apart, zeros(missing, dtype=x.dtype, device=x.device)])
    return apart[: side * side].reshape(side, side)


_diagonal = diagonal


def trace(x: Tensor) -> Tensor:
    """The sum of a matrix' main diagonal.

    Parameters
    ----------
    x : Tensor, (M, N)
        Integers give int64.

    Raises
    ------
    ShapeError
        If x is no matrix.
    """
    if casting.on:
        (x,) = casting.inputs("trace", x)
    if x.ndim != 2:
        raise ShapeError(f"{here('trace')}: expected a matrix; got shape {x.shape}.")
    return sum_(diagonal(x))
