"""Reading and writing at places that an index or a mask names: functions made of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._autocast import casting
from gpunn._shared.axes import axis_of
from gpunn._shared.counted import counted
from gpunn._tensor import Tensor
from gpunn.errors import BadData, ShapeError, UsageError, here
from gpunn.ops.add import add
from gpunn.ops.compare import compare
from gpunn.ops.expand import broadcast_tensors
from gpunn.ops.gather import gather
from gpunn.ops.nonzero import nonzero
from gpunn.ops.setitem import with_slices
from gpunn.ops.take_at import valid_index
from gpunn.ops.where import where
from gpunn.tape import is_grad_enabled

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
        If there are fewer. Where kernels run, when the host next reads something.
    """
    op = "masked_scatter"
    if x.dtype != source.dtype or mask.dtype.kind != "b":
        raise UsageError(
            f"{here(op)}: expected a bool mask, and a source of x's dtype, {x.dtype}; got {mask.dtype} and "
            f"{source.dtype}."
        )
    x, mask = broadcast_tensors(x, mask)
    order, count = mask.reshape(-1).long().cumsum(0) - 1, source.numel()
    if x.device.loader is not None and count:  # found when the host next reads something
        place = BadData(f"{here(op)}: source: expected at least as many elements as the mask holds", UsageError, _few)
        valid_index(x.device, order.clamp(min=0).array, count, False, place)
    else:
        wanted = int(mask.sum().item())
        if wanted > count:
            raise UsageError(f"{here(op)}: source: expected at least {wanted} elements; got {count}.")
        if not wanted:
            return x.clone()
    values = gather(source.reshape(-1), 0, order.clamp(0, count - 1))
    return where(mask, values.reshape(x.shape), x)


def _few(place: str, index: int) -> str:
    return f"{place}; there are fewer."


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

    Raises
    ------
    ShapeError
        If the index has more axes or is not of integers.
    RangeError
        If an index is outside the axis.
    """
    op = "index_fill"
    _check_index(op, index)
    if not x.ndim:
        return index_fill(x.reshape(1), dim, index, value).reshape(())
    return with_slices(op, x, axis_of(op, x, dim), index.reshape(-1), value, True)


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
    RangeError
        If an index is outside the axis.
    """
    if casting.on:
        x, source = casting.inputs("index_copy", x, source)
    op, axis = "index_copy", axis_of("index_copy", x, dim)
    _check_index(op, index)
    if not x.ndim:
        return index_copy(x.reshape(1), 0, index, source.reshape(-1)).reshape(())
    index = index.reshape(-1)
    lengths = (*x.shape[:axis], index.numel(), *x.shape[axis + 1 :])
    if source.shape != lengths or source.dtype != x.dtype:
        raise ShapeError(
            f"{here(op)}: source: expected shape {lengths} and x's dtype, {x.dtype}; got {source.shape}, "
            f"{source.dtype}."
        )
    if source.requires_grad and is_grad_enabled() and index.numel():
        # A slice that another one overwrites gets no gradient. Which comes last is found as what is written is.
        number = counted(index.numel(), x.device)
        last = with_slices(op, counted(x.shape[axis], x.device), 0, index, number, False)
        written = compare("eq", last.index_select(0, index), number)
        source = where(written.reshape([-1 if a == axis else 1 for a in range(x.ndim)]), source, source.detach())
    return with_slices(op, x, axis, index, source, False)


def _check_index(op: str, index: Tensor) -> None:
    if index.ndim > 1 or index.dtype.kind != "i":
        raise ShapeError(f"{here(op)}: index: expected integers (K,); got {index.dtype} of shape {index.shape}.")
