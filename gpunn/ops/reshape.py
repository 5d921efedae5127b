"""The same elements in another shape: reshape and its relatives.

A reshape works on elements in logical order, so that weights agree with PyTorch's. For an image, which is
stored channels last, that is a copy, and its gradient is copied back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._shared.axes import axes_of
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.permute import record_reordered, to_logical_order, to_physical_order

# -- public ops -----------------------------------------------------------------------------------


def reshape(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The elements of x in logical order in another shape.

    Shares x's memory where the order in memory stays the same. For most images it does not: they are stored
    channels last.

    Parameters
    ----------
    x : Tensor
    shape : int or sequence of int
        With x's number of elements; one length may be -1.

    Raises
    ------
    ShapeError
        If the numbers of elements differ.
    """
    return _reshape("reshape", x, shape)


def _reshape(op: str, x: Tensor, shape: int | Sequence[int]) -> Tensor:
    lengths = (shape,) if isinstance(shape, int | np.integer) else shape
    new = _resolve(op, x, tuple(int(n) for n in lengths))
    device, old = x.device, x.shape

    def changed(array: Any, to: tuple[int, ...]) -> Any:
        return to_physical_order(device, to_logical_order(device, array).reshape(to))

    return record_reordered(op, x, lambda a: changed(a, new), lambda dy: changed(dy, old))


def _resolve(op: str, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    known = math.prod(n for n in shape if n != -1)
    wanted = shape
    if shape.count(-1) == 1 and known and x.numel() % known == 0:
        wanted = tuple(x.numel() // known if n == -1 else n for n in shape)
    if any(n < 0 for n in wanted) or math.prod(wanted) != x.numel():
        raise ShapeError(f"{here(op)}: cannot make shape {shape} of {x.shape} with {x.numel()} elements.")
    return wanted


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge axes ``start_dim`` to ``end_dim`` into one, in logical order.

    Parameters
    ----------
    x : Tensor
    start_dim, end_dim : int
        First and last axis to merge.

    Raises
    ------
    UsageError
        If x does not have these axes, or the first comes after the last.

    References
    ----------
    Lecture topic L16.
    """
    count = max(x.ndim, 1)
    first, last = start_dim % count, end_dim % count
    if first > last or any(not -count <= a < count for a in (start_dim, end_dim)):
        raise UsageError(f"{here('flatten')}: axes {start_dim} to {end_dim} do not exist in shape {x.shape}.")
    return _reshape("flatten", x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def ravel(x: Tensor) -> Tensor:
    """All elements in logical order, as one axis.

    Parameters
    ----------
    x : Tensor
    """
    return _reshape("ravel", x, (-1,) if x.numel() else (0,))


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split axis ``dim`` into several, of lengths ``sizes``.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    sizes : sequence of int
        Their product is the axis's length; one may be -1.

    Raises
    ------
    ShapeError
        If the product is not that length.
    """
    sizes = tuple(int(n) for n in sizes)
    if not x.ndim:
        raise ShapeError(f"{here('unflatten')}: expected an axis to split; a number has none.")
    (axis,) = axes_of("unflatten", x, dim)
    length, known = x.shape[axis], math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known and length % known == 0:
        sizes = tuple(length // known if n == -1 else n for n in sizes)
    if not sizes or any(n < 0 for n in sizes) or math.prod(sizes) != length:
        raise ShapeError(
            f"{here('unflatten')}: cannot split axis {dim} of {x.shape}, of length {length}, into {sizes}."
        )
    return _reshape("unflatten", x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of length 1.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Only these, if of length 1. All if None.
    """
    axes = axes_of("squeeze", x, dim, empty_means_all=False)
    return _reshape("squeeze", x, [n for a, n in enumerate(x.shape) if n != 1 or a not in axes])


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new axis of length 1.

    Parameters
    ----------
    x : Tensor
    dim : int
        Where it will be.

    Raises
    ------
    UsageError
        If ``dim`` is not an axis of the result.
    """
    count = x.ndim + 1
    if not -count <= dim < count:
        raise UsageError(f"{here('unsqueeze')}: dim: expected -{count} to {count - 1} for shape {x.shape}; got {dim}.")
    at = dim % count
    return _reshape("unsqueeze", x, (*x.shape[:at], 1, *x.shape[at:]))
