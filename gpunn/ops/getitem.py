"""``x[key]``, and its relatives narrow, select and index_select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpunn._device import Device, same_device
from gpunn._layout import is_contiguous, logical
from gpunn._shared.axes import axes_of
from gpunn._shared.index_keys import Parts, checked_index, parse
from gpunn._tensor import Tensor
from gpunn._views import Step, Strides, view_of
from gpunn.errors import DTypeError, RangeError, ShapeError, UsageError, here
from gpunn.ops.accumulate import accumulate
from gpunn.ops.reshape import reshape
from gpunn.ops.take_at import add_at, take_at
from gpunn.ops.take_slice import Key, put_slice, set_slice, take_slice
from gpunn.tape import record


def getitem(x: Tensor, key: Any) -> Tensor:
    """``x[key]``: a view for numbers, slices, None and ..., a copy where arrays pick elements; on the tape.

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
    """``x[key]`` of numbers, slices and None, checked: a view; ``op`` is its name on the tape."""
    return view_of(x, Sliced(op, key))


@dataclass
class Sliced(Step):
    """The step to a slice: a key of numbers, slices and None."""

    op: str
    key: Key
    adds = True

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        """See Step."""
        part = self.strided(logical(array))
        inner = part.transpose(0, 2, 3, 1) if part.ndim == 4 else part
        return (inner, True) if is_contiguous(inner) else (take_slice(device, logical(array), self.key), False)

    def back(self, device: Device, dy: Any, shape: tuple[int, ...]) -> Any:
        """See Step."""
        return put_slice(device, logical(dy), shape, self.key)

    def back_into(self, device: Device, dy: Any, waiting: Any) -> Any:
        """See Step."""
        accumulate(device, self.strided(logical(waiting)), logical(dy))
        return waiting

    def put(self, device: Device, target: Any, value: Any) -> None:
        """See Step."""
        set_slice(device, logical(target), logical(value), self.key)

    def among_rows(self, ndim: int, from_rows: bool) -> tuple[Step, bool] | None:
        """See Step."""
        left = ndim + sum(item is None for item in self.key) - sum(isinstance(item, int) for item in self.key)
        if left != 4:
            return None
        return Sliced(self.op, (slice(None) if from_rows else None, *self.key)), True

    def strided(self, array: Any) -> Any:
        """See Step."""
        whole = *self.key, Ellipsis  # without Ellipsis NumPy turns one element into a scalar
        return array[whole]

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        """See Step."""
        lengths, steps = [], []
        axes = iter(zip(shape, strides, strict=True))
        for item in self.key:
            if item is None:
                lengths.append(1)
                steps.append(1)
                continue
            n, stride = next(axes)
            if isinstance(item, slice):
                lengths.append(len(range(*item.indices(n))))
                steps.append(stride * item.indices(n)[2])
        rest = list(axes)
        return (*lengths, *(n for n, _ in rest)), (*steps, *(stride for _, stride in rest))


def picked(op: str, x: Tensor, parts: Parts) -> Tensor:
    """The elements of x at the index arrays of ``parts``, on the tape; ``op`` is its name there."""
    device, shape, indices, axes, at = x.device, x.shape, parts.indices, parts.axes, parts.at
    unique = parts.unique
    y = take_at(device, x.array, indices, axes, at)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (add_at(device, logical(dy), indices, axes, at, shape, unique),)

    return record(op, y, device, (x,), backward, saves=parts.tensors)


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """``length`` elements along ``dim`` from ``start`` on: a view.

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
    """The slice at one index along ``dim``, without that axis: a view.

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


def summed_at(op: str, x: Tensor, axis: int, index: Tensor, length: int) -> Tensor:
    """The transpose of :func:`index_select`: ``length`` slices along an axis, each the sum of x's with its index.

    Parameters
    ----------
    op : str
        Its name on the tape.
    x : Tensor
        Floating.
    axis : int
        Not negative.
    index : Tensor, (K,)
        int64, one for each of x's slices, known to be inside: nothing is checked.
    length : int
    """
    device, places = x.device, [index._physical]
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    y = add_at(device, x.array, places, (axis,), axis, shape, False)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (take_at(device, logical(dy), places, (axis,), axis),)

    return record(op, y, device, (x,), backward)
