"""Axes in another order: permute, transpose, movedim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, where
from gpunn.ops._axes import axes_of
from gpunn.ops.shape import record_reordered, reordered

_MEMORY = (0, 2, 3, 1)  # the logical axis that each axis of an image's memory is
_USER = (0, 3, 1, 2)  # and the other way round


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The axes of x in another order.

    Shares x's memory where the order in memory stays the same; else it is a copy.

    Parameters
    ----------
    x : Tensor
    dims : sequence of int
        For each axis of the result, which axis of x it is.

    Raises
    ------
    UsageError
        If ``dims`` does not name each axis once.

    Examples
    --------
    >>> import gpunn
    >>> permute(gpunn.zeros(2, 3, 5), (2, 0, 1)).shape
    (5, 2, 3)
    """
    return _permute("permute", x, dims)


def _permute(op: str, x: Tensor, dims: Sequence[int]) -> Tensor:
    order = tuple(int(d) + x.ndim if d < 0 else int(d) for d in dims)
    if sorted(order) != list(range(x.ndim)):
        raise UsageError(f"{where(op)}: expected each axis of shape {x.shape} once; got {tuple(dims)}.")
    # In memory: turn to the user's order, permute, turn back.
    axes = tuple(_USER[order[a]] for a in _MEMORY) if x.ndim == 4 else order
    back = tuple(axes.index(a) for a in range(x.ndim))
    device = x.device
    return record_reordered(op, x, lambda a: reordered(device, a, axes), lambda dy: reordered(device, dy, back))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Exchange two axes.

    Parameters
    ----------
    x : Tensor
    dim0, dim1 : int
        The axes.

    Raises
    ------
    UsageError
        If x does not have them.
    """
    (first,), (second,) = ((axes_of("transpose", x, d) or (0,)) for d in (dim0, dim1))
    order = list(range(x.ndim))
    if x.ndim:
        order[first], order[second] = second, first
    return _permute("transpose", x, order)


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are.

    Parameters
    ----------
    x : Tensor
        At most 2-d.

    Raises
    ------
    ShapeError
        If it has more axes.
    """
    if x.ndim > 2:
        raise ShapeError(f"{where('t')}: expected at most a matrix; got shape {x.shape}. Use .mT or transpose().")
    return _permute("t", x, tuple(range(x.ndim))[::-1])


def matrix_transpose(x: Tensor) -> Tensor:
    """Exchange the last two axes (``x.mT``).

    Raises
    ------
    ShapeError
        If x has fewer.
    """
    if x.ndim < 2:
        raise ShapeError(f"{where('mT')}: expected a matrix or a batch of them; got shape {x.shape}.")
    return transpose(x, -2, -1)


def movedim(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other places; the others keep their order.

    Parameters
    ----------
    x : Tensor
    source, destination : int or sequence of int
        Which axes, and where each will be.

    Raises
    ------
    UsageError
        If they are not equally many axes of x.
    """
    pair: list[Any] = [
        (axes_of("movedim", x, d) if isinstance(d, int) or len(d) else ()) for d in (source, destination)
    ]
    if len(pair[0]) != len(pair[1]):
        raise UsageError(f"{where('movedim')}: expected equally many axes; got {source} and {destination}.")
    placed = dict(zip(pair[1], pair[0], strict=True))
    others = iter(a for a in range(x.ndim) if a not in pair[0])
    return _permute("movedim", x, [placed[a] if a in placed else next(others) for a in range(x.ndim)])
