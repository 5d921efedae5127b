"""Grids of coordinates: views of the lines, repeated."""

from __future__ import annotations

from typing import Any

from gpunn._device import same_device
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, DTypeError, ShapeError, UsageError, here


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """The coordinates of all points of a grid, one tensor for each axis.

    Parameters
    ----------
    *tensors : Tensor, (N,) or a number
        One line of coordinates for each axis, or one sequence of them; all of one dtype.
    indexing : {"ij", "xy"}, optional
        "ij": result k varies along axis k. "xy": the first two axes are exchanged, as images have them. None is "ij".

    Returns
    -------
    tuple of Tensor
        All of the shape of the grid; views of the lines, so they cannot be written to.

    Raises
    ------
    ShapeError
        If one is not a line, or none is given.
    DTypeError
        If their dtypes differ.
    UsageError
        If ``indexing`` is something else.

    Examples
    --------
    >>> import gpunn
    >>> a, b = meshgrid(gpunn.tensor([1, 2]), gpunn.tensor([3, 4, 5]), indexing="ij")
    >>> a.tolist(), b.tolist()
    ([[1, 1, 1], [2, 2, 2]], [[3, 4, 5], [3, 4, 5]])
    """
    op = "meshgrid"
    lines = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    for line in lines:
        if not isinstance(line, Tensor):
            raise ArgumentError(f"{here(op)}: tensors: expected Tensors; got a {type(line).__name__}.")
        if line.ndim > 1:
            raise ShapeError(f"{here(op)}: expected lines of coordinates, (N,) or numbers; got shape {line.shape}.")
    if not lines:
        raise ShapeError(f"{here(op)}: expected at least one line of coordinates; got none.")
    if len({line.dtype for line in lines}) > 1:
        kinds = ", ".join(str(line.dtype) for line in lines)
        raise DTypeError(f"{here(op)}: expected one dtype; got {kinds}. Convert with .to(dtype).")
    if indexing not in (None, "ij", "xy"):
        raise UsageError(f"{here(op)}: indexing: expected 'ij' or 'xy'; got {indexing!r}.")
    same_device(op, *(line.device for line in lines))
    order = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[:2] = 1, 0
    shape = tuple(lines[k].numel() for k in order)
    return tuple(
        line.reshape(tuple(-1 if k == place else 1 for k in order)).expand(shape) for place, line in enumerate(lines)
    )
