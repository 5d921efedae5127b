"""``x[key]``, and its relatives narrow, select and index_select."""

from __future__ import annotations

from typing import Any

from gpunn._device import same_device
from gpunn._layout import logical
from gpunn._shared.axes import axes_of
from gpunn._shared.index_keys import Parts, checked_index, parse
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, RangeError, ShapeError, UsageError, here
from gpunn.ops.reshape import reshape
from gpunn.ops.take_at import add_at, take_at
from gpunn.ops.take_slice import Key, put_slice, take_slice
from gpunn.tape import record


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
        If they are not all inside the axis.
    """
    if not x.ndim:
        raise UsageError(f"{here('narrow')}: expected an axis; a number has none.")
    (axis,) = axes_of("narrow", x, dim)
    size, first = x.shape[axis], start
    first = first + size if first < 0 else first
    if length < 0 or first < 0 or first + length > size:
        raise RangeError(
            f"{here('narrow')}: {length} elements from {start} on do not lie in axis {axis}, which has length {size}."
        )
    return sliced("narrow", x, (*(slice(None),) * axis, slice(first, first + length)))


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """The slice at one index along ``dim``, without that axis.

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
        If the index is outside the axis.
    """
    axes = axes_of("select", x, dim)
    if not axes:
        raise UsageError(f"{here('select')}: expected an axis; a number has none.")
    return getitem(x, (*(slice(None),) * axes[0], int(index)))


def _index_tensor(op: str, x: Tensor, index: Tensor, axis: int, length: int) -> Any:
    if not isinstance(index, Tensor) or index.dtype.kind != "i":
        came = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise DTypeError(f"{here(op)}: index: expected a Tensor of integers; got {came}.")
    same_device(op, x.device, index.device)
    return checked_index(op, x.device, index, axis, length, negative=False)


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices at ``index`` along ``dim``; indices may repeat.

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
        Like x, with length K along ``dim``.

    Raises
    ------
    RangeError
        If an index is outside the axis.
    ShapeError
        If ``index`` has several axes.

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
        raise ShapeError(f"{here(op)}: expected index of shape (K,); got {index.shape}.")
    return picked(op, x, Parts((), [places.reshape(-1)], (axis,), axis, False, [index]))
