"""Picking elements: ``t[...]``, ``t[...] = value``, index_select, gather, masks (plain bodies in ``_scatter``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import same_device
from gpunn._layout import logical, physical, physical_axes, physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, RangeError, ShapeError, UsageError, where
from gpunn.ops._axes import axes_of
from gpunn.ops._index_keys import Parts, checked_index, parse
from gpunn.ops._scatter import (
    Key,
    add_at,
    gather_along,
    gather_along_backward,
    nonzero_places,
    put_slice,
    set_at,
    set_slice,
    take_at,
    take_slice,
)
from gpunn.ops.expand import expand
from gpunn.ops.shape import reshape
from gpunn.tape import is_grad_enabled, record


def getitem(x: Tensor, key: Any) -> Tensor:
    """``x[key]``: always a copy, on the tape.

    Parameters
    ----------
    x : Tensor
    key : int, slice, None, ..., Tensor, array, list, or a tuple of them
        Integer Tensors, NumPy arrays and lists pick elements, bool ones are masks; several broadcast together.
        As in PyTorch, numbers are applied first. Steps are positive.

    Raises
    ------
    RangeError
        If an index is outside its axis, or there are more indices than axes.
    ShapeError, DTypeError, DeviceError, UsageError
        If something cannot be an index.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.arange(12).reshape(3, 4)
    >>> x[1:, ::2].tolist(), x[[2, 0], 1].tolist(), x[x > 9].tolist()
    ([[4, 6], [8, 10]], [9, 1], [10, 11])
    """
    parts = parse("index", x, key)
    if parts.basic or not parts.indices:
        x = sliced("index", x, parts.basic)
    return picked("index", x, parts) if parts.indices else x


def sliced(op: str, x: Tensor, key: Key) -> Tensor:
    """``x[key]`` of numbers, slices and None, checked: a copy on the tape; ``op`` is its name there."""
    device, shape = x.device, x.shape
    y = take_slice(device, x.array, key)
    return record(op, y, device, (x,), lambda dy, needs: (put_slice(device, logical(dy), shape, key),))


def picked(op: str, x: Tensor, parts: Parts) -> Tensor:
    """The elements of x at the index arrays of ``parts``, on the tape; ``op`` is its name there."""
    device, shape, indices, axes, at = x.device, x.shape, parts.indices, parts.axes, parts.at
    unique = parts.unique
    y = take_at(device, x.array, indices, axes, at)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (add_at(device, logical(dy), indices, axes, at, shape, unique),)

    return record(op, y, device, (x,), backward, saves=parts.tensors)


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``, in place and off the tape.

    Parameters
    ----------
    x : Tensor
        Not on the tape: a leaf that needs no gradient, or any leaf under ``no_grad``.
    key : as for :func:`getitem`
        Where index arrays name an element more than once, the last value counts, on every device.
    value : Tensor, array or number
        Converted to x's dtype, broadcast to the shape of ``x[key]``.

    Raises
    ------
    UsageError
        If x or the value is on the tape.
    ShapeError
        If the value does not broadcast.
    """
    op = "setitem"
    parts = parse(op, x, key)
    if isinstance(value, Tensor):
        same_device(op, x.device, value.device)
        if value.requires_grad and is_grad_enabled():
            raise UsageError(
                f"{where(op)}: the value requires a gradient, which an assignment would lose; use where(), cat() or "
                "stack(), or assign value.detach()."
            )
        source = value.array
    else:
        source = x.device.array(np.asarray(value, None if isinstance(value, np.ndarray) else x.dtype))
    target = _shape_of(x, parts)
    extra = max(source.ndim - len(target), 0)
    try:
        fits = all(n == 1 for n in source.shape[:extra]) and np.broadcast_shapes(source.shape[extra:], target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{where(op)}: expected a value that broadcasts to {target}; got shape {tuple(source.shape)}.")
    array = logical(x._in_place(op))
    if parts.indices:
        set_at(x.device, array, source, parts.basic, parts.indices, parts.axes, parts.at)
    else:
        set_slice(x.device, array, source, parts.basic)


def _shape_of(x: Tensor, parts: Parts) -> tuple[int, ...]:
    shape = tuple(x.array[parts.basic].shape)
    if not parts.indices:
        return shape
    rest = [n for a, n in enumerate(shape) if a not in parts.axes]
    common = np.broadcast_shapes(*(i.shape for i in parts.indices))
    return (*rest[: parts.at], *common, *rest[parts.at :])


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` elements along ``dim`` from ``start`` on, as a copy.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    start : int
        Negative counts from the end.
    length : int

    Raises
    ------
    RangeError
        If they are not all there.
    """
    if not x.ndim:
        raise UsageError(f"{where('narrow')}: expected an axis; a number has none.")
    (axis,) = axes_of("narrow", x, dim)
    size, first = x.shape[axis], start
    first = first + size if first < 0 else first
    if length < 0 or first < 0 or first + length > size:
        raise RangeError(
            f"{where('narrow')}: {length} elements from {start} on do not lie in axis {axis}, which has length {size}."
        )
    return sliced("narrow", x, (*(slice(None),) * axis, slice(first, first + length)))


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """One place along ``dim``, without that axis.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    index : int
        Negative counts from the end.

    Raises
    ------
    RangeError
        If there is no such place.
    """
    axes = axes_of("select", x, dim)
    if not axes:
        raise UsageError(f"{where('select')}: expected an axis; a number has none.")
    return getitem(x, (*(slice(None),) * axes[0], int(index)))


def _index_tensor(op: str, x: Tensor, index: Tensor, axis: int, length: int) -> Any:
    if not isinstance(index, Tensor) or index.dtype.kind != "i":
        came = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise DTypeError(f"{where(op)}: index: expected a Tensor of integers; got {came}.")
    same_device(op, x.device, index.device)
    return checked_index(op, x.device, index, axis, length, negative=False)


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The places ``index`` along ``dim``, which may come several times.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    index : Tensor, (K,) or a number
        int32 or int64, none negative.

    Returns
    -------
    Tensor
        As x, with length K along ``dim``.

    Raises
    ------
    RangeError
        If an index is outside the axis.
    ShapeError
        If there are several axes of indices.

    Examples
    --------
    >>> import gpunn
    >>> index_select(gpunn.tensor([[1, 2, 3]]), 1, gpunn.tensor([2, 0, 2])).tolist()
    [[3, 1, 3]]
    """
    op = "index_select"
    if not x.ndim:
        return reshape(index_select(reshape(x, 1), 0, index), ())
    (axis,) = axes_of(op, x, dim)
    places = _index_tensor(op, x, index, axis, x.shape[axis])
    if places.ndim > 1:
        raise ShapeError(f"{where(op)}: expected index of shape (K,); got {index.shape}.")
    return picked(op, x, Parts((), [places.reshape(-1)], (axis,), axis, False, [index]))


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """y[i, j, k] = x[i, index[i, j, k], k] for ``dim`` 1, and so on.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis that is indexed.
    index : Tensor
        int32 or int64, none negative; with as many axes as x, and along the others no longer.

    Returns
    -------
    Tensor
        Of index's shape.

    Raises
    ------
    RangeError
        If an index is outside the axis.
    ShapeError
        If the shapes do not go together.

    Examples
    --------
    >>> import gpunn
    >>> gather(gpunn.tensor([[1, 2], [3, 4]]), 1, gpunn.tensor([[0, 0], [1, 0]])).tolist()
    [[1, 1], [4, 3]]
    """
    return _gather("gather", x, dim, index)


def _gather(op: str, x: Tensor, dim: int, index: Tensor) -> Tensor:
    axis = (axes_of(op, x, dim) or (0,))[0]
    if not x.ndim and isinstance(index, Tensor) and index.ndim <= 1:
        return reshape(_gather(op, reshape(x, 1), 0, reshape(index, -1)), index.shape)
    places = _index_tensor(op, x, index, axis, x.shape[axis] if x.ndim else 1)
    longer = index.ndim != x.ndim or any(
        n > m for a, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if a != axis
    )
    if longer:
        raise ShapeError(
            f"{where(op)}: expected index with {x.ndim} axes, along all but axis {axis} no longer than x of shape "
            f"{x.shape}; got {index.shape}."
        )
    device, shape = x.device, physical_shape(x.shape)
    places, (stored,) = physical(places), physical_axes((axis,), x.ndim)
    y = gather_along(device, x._physical, places, stored)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gather_along_backward(device, dy, places, shape, stored),)

    return record(op, y, device, (x,), backward, saves=(index,))


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """:func:`gather` with broadcasting along the other axes, as for what ``argmax`` and the like return.

    Parameters
    ----------
    x : Tensor
    indices : Tensor
        int32 or int64, none negative.
    dim : int, optional
        The axis; None takes from all elements in logical order.

    Raises
    ------
    RangeError
        If an index is outside the axis.
    ShapeError
        If the shapes do not broadcast.
    """
    op = "take_along_dim"
    if dim is None:
        return _gather(op, reshape(x, (x.numel(),)), 0, reshape(indices, (indices.numel(),)))
    if x.ndim != indices.ndim or not x.ndim:
        raise ShapeError(f"{where(op)}: expected x and indices with equally many axes; got {x.shape}, {indices.shape}.")
    (axis,) = axes_of(op, x, dim)
    others = [tuple(1 if a == axis else n for a, n in enumerate(v.shape)) for v in (x, indices)]
    try:
        wide = np.broadcast_shapes(*others)
    except ValueError:
        raise ShapeError(
            f"{where(op)}: shapes {x.shape} and {indices.shape} do not broadcast along all axes but {axis}."
        ) from None
    x, indices = (expand(v, (*wide[:axis], v.shape[axis], *wide[axis + 1 :])) for v in (x, indices))
    return _gather(op, x, axis, indices)


def nonzero(x: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Where x is not 0, in logical order; no gradient.

    Parameters
    ----------
    x : Tensor
    as_tuple : bool
        Give one tensor of places for each axis, which is an index, instead of (K, axes).

    Returns
    -------
    Tensor or tuple of them
        int64.
    """
    places = nonzero_places(x.device, x.array if x.ndim else x.array.reshape(1))
    if as_tuple:
        return tuple(Tensor._of_physical(line, x.device) for line in places)
    # The number of places, each of no axes, for a number.
    return Tensor._of_physical(places.T.copy()[:, : x.ndim].copy(), x.device)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` is True, in logical order.

    Parameters
    ----------
    x : Tensor
    mask : Tensor
        bool; x and mask broadcast together.

    Raises
    ------
    DTypeError
        If the mask is not bool.
    ShapeError
        If they do not broadcast.
    """
    op = "masked_select"
    if not isinstance(mask, Tensor) or mask.dtype.kind != "b":
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise DTypeError(f"{where(op)}: mask: expected a Tensor of bools; got {came}.")
    same_device(op, x.device, mask.device)
    try:
        shape = np.broadcast_shapes(x.shape, mask.shape)
    except ValueError:
        raise ShapeError(f"{where(op)}: shapes {x.shape} and {mask.shape} do not broadcast together.") from None
    x, mask = (v if v.shape == shape else expand(v, shape) for v in (x, mask))
    return getitem(x if x.ndim else reshape(x, 1), mask if mask.ndim else reshape(mask, 1))
