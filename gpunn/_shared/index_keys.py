"""The key of ``t[...]``, checked and taken apart into slices and index arrays."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device, same_device
from gpunn._interop import constant, is_cupy
from gpunn._layout import logical, physical
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, RangeError, ShapeError, UsageError, here
from gpunn.ops.cast import cast
from gpunn.ops.take_at import index_range, nonzero_places, valid_index

_ALL = slice(None)


@dataclass
class Parts:
    """A key in two steps: ``basic`` first, then ``indices`` on the ``axes`` of its result.

    Attributes
    ----------
    basic : tuple
        Numbers, slices and None for every axis; empty where that would change nothing.
    indices : list of arrays
        int64, none negative, on the tensor's device.
    axes : tuple of int
    at : int
        The axis of the result at which the indices' broadcast shape starts.
    unique : bool
        Whether no element occurs twice.
    tensors : list of Tensor
        Those among ``indices`` that share a Tensor's memory.
    """

    basic: tuple[Any, ...]
    indices: list[Any]
    axes: tuple[int, ...]
    at: int
    unique: bool
    tensors: list[Tensor]


def parse(op: str, x: Tensor, key: Any) -> Parts:
    """The parts of ``x[key]``.

    Raises
    ------
    RangeError
        If an index lies outside its axis, or there are more indices than axes.
    ShapeError
        If a mask does not have the shape of its axes, or index arrays do not broadcast together.
    DTypeError, DeviceError, UsageError
        If something cannot be an index.
    """
    given = [_simple(op, x, item) for item in (key if isinstance(key, tuple) else (key,))]
    if sum(item is Ellipsis for item in given) > 1:
        raise UsageError(f"{here(op)}: expected at most one ellipsis (...); got {len(given)} indices with more.")
    used = sum(map(_axes_used, given))
    if used > x.ndim:
        raise RangeError(f"{here(op)}: too many indices: {used} for a tensor of shape {x.shape}.")
    if not any(item is Ellipsis for item in given):
        given.append(Ellipsis)

    basic: list[Any] = []
    parts = Parts((), [], (), 0, False, [])
    places: list[int] = []
    axis = out = masks = 0
    for item in given:
        if item is Ellipsis:
            span = x.ndim - used
            basic += [_ALL] * span
            axis, out = axis + span, out + span
        elif item is None or isinstance(item, bool):
            basic.append(None)
            if item is not None:  # an axis of 1, kept or dropped as a whole
                parts.indices.append(x.device.array(np.zeros(int(item), np.int64)))
                places.append(out)
            out += 1
        elif isinstance(item, int):
            basic.append(_whole(op, item, axis, x.shape[axis]))
            axis += 1
        elif isinstance(item, slice):
            basic.append(item)
            axis, out = axis + 1, out + 1
        else:
            count = _axes_used(item)
            found = _arrays(op, item, x, axis, parts)
            masks += _is_mask(item)
            basic += [_ALL] * count
            parts.indices += found
            places += range(out, out + count)
            axis, out = axis + count, out + count
    parts.axes = tuple(places)
    if any(item is not _ALL for item in basic) or not places:
        parts.basic = tuple(basic)
    if places:
        _check_shapes(op, parts)
        neighbours = places == list(range(places[0], places[0] + len(places)))
        parts.at = places[0] if neighbours else 0
        parts.unique = masks == 1 and len(places) == sum(map(_axes_used, (i for i in given if _is_mask(i))))
    return parts


def _check_shapes(op: str, parts: Parts) -> None:
    shapes = [tuple(i.shape) for i in parts.indices]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        text = " and ".join(map(str, shapes))
        raise ShapeError(f"{here(op)}: index arrays of shapes {text} do not broadcast together.") from None


def _simple(op: str, x: Tensor, item: Any) -> Any:
    """None, Ellipsis, a bool, an int, a checked slice, a Tensor or a host array."""
    if item is None or item is Ellipsis or isinstance(item, bool | np.bool_):
        return item if item is None or item is Ellipsis else bool(item)
    if isinstance(item, slice):
        return _checked_slice(op, item)
    if isinstance(item, list | tuple | range):
        try:
            item = np.asarray([v.tolist() if isinstance(v, Tensor) else v for v in item])
        except ValueError as error:
            raise ShapeError(f"{here(op)}: expected a list of indices of one length each; got {item!r}.") from error
        item = item.astype(np.int64) if item.size == 0 else item
    if is_cupy(item):
        item = constant(op, item, x.device)
    if isinstance(item, Tensor | np.ndarray):
        kind = item.dtype.kind
        if kind not in "bi":
            fix = "Convert it to bool for a mask or to int64 for places." if kind == "u" else "Convert it to int64."
            raise DTypeError(f"{here(op)}: expected integers or a bool mask as indices; got {item.dtype}. {fix}")
        if isinstance(item, Tensor):
            same_device(op, x.device, item.device)
        return item.item() if not item.shape else item
    try:
        return operator.index(item)
    except TypeError:
        raise DTypeError(
            f"{here(op)}: expected integers, slices, None, ..., index arrays or masks; got {type(item).__name__}."
        ) from None


def _checked_slice(op: str, item: slice) -> slice:
    def number(value: Any) -> int | None:
        if value is None:
            return None
        try:
            return operator.index(value.item() if isinstance(value, Tensor | np.ndarray) else value)
        except TypeError:
            raise DTypeError(f"{here(op)}: expected integers in a slice; got {type(value).__name__}.") from None

    made = slice(number(item.start), number(item.stop), number(item.step))
    if made.step is not None and made.step < 1:
        raise UsageError(f"{here(op)}: expected a slice with a positive step; got {made.step}. Use flip().")
    return _ALL if made == _ALL else made


def _is_mask(item: Any) -> bool:
    return isinstance(item, Tensor | np.ndarray) and item.dtype.kind == "b"


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return len(item.shape) if _is_mask(item) else 1


def _whole(op: str, index: int, axis: int, length: int) -> int:
    if not -length <= index < length:
        raise _out_of_range(op, index, axis, length)
    return index


def _out_of_range(op: str, index: int, axis: int, length: int) -> RangeError:
    return RangeError(f"{here(op)}: index {index} is out of range for axis {axis}, which has length {length}.")


def _arrays(op: str, item: Any, x: Tensor, axis: int, parts: Parts) -> list[Any]:
    """The index arrays that a mask or an array of indices stands for."""
    if _is_mask(item):
        expected = x.shape[axis : axis + len(item.shape)]
        if tuple(item.shape) != expected:
            raise ShapeError(
                f"{here(op)}: expected a mask of shape {expected}, as the axes from {axis} on; got {tuple(item.shape)}."
            )
        mask = item.array if isinstance(item, Tensor) else x.device.array(item)
        return list(nonzero_places(x.device, mask))
    made = checked_index(op, x.device, item, axis, x.shape[axis])
    if isinstance(item, Tensor) and made is item.array:
        parts.tensors.append(item)
    return [made]


def checked_index(op: str, device: Device, given: Any, axis: int, length: int, negative: bool = True) -> Any:
    """An index as an int64 array on the device, logical, with none out of range and none negative.

    On devices that run kernels this does not wait for a Tensor's values. An index out of range is reported there when
    the host next reads something, and nothing is trained on it.

    Parameters
    ----------
    op : str
        Named in errors.
    device : Device
    given : Tensor or NumPy array of integers
    axis, length : int
        What it indexes.
    negative : bool
        Whether -1 means the last element.

    Raises
    ------
    RangeError
        If one is out of range.
    """
    index = given.array if isinstance(given, Tensor) else given
    if isinstance(given, Tensor) and device.loader is not None:
        if length == 0 and index.size:
            raise RangeError(f"{here(op)}: axis {axis} has length 0: there is nothing to index.")
        index = index if index.dtype.name in ("int32", "int64") else cast(device, index, np.int64)
        place = f"{here(op)}: axis {axis}, of length {length}"
        return logical(valid_index(device, physical(index), length, negative, place))
    refuse_in_capture(f"{op} with an index of the host (make it a Tensor on the device)")
    least = 0
    if index.size:
        # A host array is checked here, without waiting for the device.
        ends = (index.min(), index.max()) if isinstance(index, np.ndarray) else index_range(device, index).get()
        least, largest = int(ends[0]), int(ends[1])
        if largest >= length:
            raise _out_of_range(op, largest, axis, length)
        if least < (-length if negative else 0):
            raise _out_of_range(op, least, axis, length)
    index = index.astype(np.int64, copy=False)
    index = device.array(index) if isinstance(index, np.ndarray) else index
    return valid_index(device, index, length, negative, op) if least < 0 else index
