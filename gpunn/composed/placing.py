"""Reading and writing at places that an index or a mask names: functions made of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._shared.axes import axis_of
from gpunn._shared.counted import counted
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.add import add
from gpunn.ops.compare import compare
from gpunn.ops.expand import broadcast_tensors, broadcast_to
from gpunn.ops.gather import gather
from gpunn.ops.nonzero import nonzero
from gpunn.ops.where import masked_fill, where

# -- by places ------------------------------------------------------------------------------------


def argwhere(x: Tensor) -> Tensor:
    """Where the elements are not 0, a row of indices each; no gradient.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor, (n, axes)
        int64.
    """
    found = nonzero(x)
    assert isinstance(found, Tensor), "without as_tuple it is one tensor"
    return found


def take(x: Tensor, index: Tensor) -> Tensor:
    """The elements of x, counted along all its axes, at the places that ``index`` names.

    Parameters
    ----------
    x : Tensor
    index : Tensor
        int64 or int32; a negative one counts from the end.

    Returns
    -------
    Tensor
        Of the shape of ``index``.
    """
    places = index.reshape(-1)
    places = where(compare("lt", places, 0), add(places, x.numel()), places)
    return gather(x.reshape(-1), 0, places).reshape(index.shape)


def tile(x: Tensor, dims: Sequence[int]) -> Tensor:
    """x repeated along its axes, as often as ``dims`` says.

    Parameters
    ----------
    x : Tensor
    dims : sequence of int
        For the last axes if there are fewer than x has; more make new ones in front.
    """
    counts = tuple(dims)
    return x.repeat(*(1,) * (x.ndim - len(counts)), *counts)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """x with the first elements of ``source``, in order, where the mask holds.

    Parameters
    ----------
    x : Tensor
    mask : Tensor
        Bool; broadcasts to x.
    source : Tensor
        Of x's dtype, with at least as many elements as are written.

    Raises
    ------
    UsageError
        If there are fewer.
    """
    op = "masked_scatter"
    if x.dtype != source.dtype or mask.dtype.kind != "b":
        raise UsageError(
            f"{here(op)}: expected a bool mask, and a source of x's dtype, {x.dtype}; got {mask.dtype} and "
            f"{source.dtype}."
        )
    x, mask = broadcast_tensors(x, mask)
    flat = mask.reshape(-1)
    order = flat.long().cumsum(0) - 1
    wanted = int(flat.sum().item())
    if wanted > source.numel():
        raise UsageError(f"{here(op)}: source: expected at least {wanted} elements; got {source.numel()}.")
    if not wanted:
        return x.clone()
    values = gather(source.reshape(-1), 0, order.clamp(0, source.numel() - 1))
    return where(mask, values.reshape(x.shape), x)


def index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """x with its slices at ``index`` along an axis set to a number.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    index : Tensor, (K,)
        int64 or int32; a negative one counts from the end.
    value : number, or Tensor of one element
    """
    marks = _marked("index_fill", x, dim, index)
    return masked_fill(x, broadcast_to(marks, x.shape), value)


def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """x with its slices at ``index`` along an axis replaced by those of ``source``.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    index : Tensor, (K,)
        int64 or int32. Of several slices for one place the last is written.
    source : Tensor
        Like x, with length K along ``dim``.

    Raises
    ------
    ShapeError
        If ``source`` has another shape.
    """
    op, axis = "index_copy", axis_of("index_copy", x, dim)
    lengths = (*x.shape[:axis], index.numel(), *x.shape[axis + 1 :])
    if source.shape != lengths or source.dtype != x.dtype:
        raise ShapeError(
            f"{here(op)}: source: expected shape {lengths} and x's dtype, {x.dtype}; got {source.shape}, "
            f"{source.dtype}."
        )
    marks = _marked(op, x, axis, index)
    if not index.numel():
        return x.clone()
    # Which of the slices is the last one for each place.
    hits = compare("eq", counted(x.shape[axis], x.device).unsqueeze(1), index.reshape(1, -1))
    which = (hits.long() * (counted(index.numel(), x.device) + 1)).max(1).values - 1
    return where(marks, source.index_select(axis, which.clamp(0, index.numel() - 1)), x)


def _marked(op: str, x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Bools that broadcast to x: whether a place along the axis is named."""
    axis = axis_of(op, x, dim)
    if index.ndim > 1 or index.dtype.kind != "i":
        raise ShapeError(f"{here(op)}: index: expected integers (K,); got {index.dtype} of shape {index.shape}.")
    length = x.shape[axis]
    places = index.reshape(-1)
    if op == "index_fill":
        places = where(compare("lt", places, 0), places + length, places)
    outside = compare("lt", places, 0) | compare("ge", places, length)
    if outside.numel() and bool(outside.any()):
        raise UsageError(f"{here(op)}: index: expected places from 0 to {length - 1} along axis {axis}.")
    hits = compare("eq", counted(length, x.device).unsqueeze(1), places.unsqueeze(0)).any(1)
    return hits.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
