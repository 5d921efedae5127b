"""``x[key] = value``: off the tape in x's memory, on it as an op with a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device, same_device
from gpunn._half import FLOATING
from gpunn._in_place import recorded, rewrite
from gpunn._interop import constant, is_cupy
from gpunn._layout import logical
from gpunn._shared.index_keys import Parts, checked_index, parse
from gpunn._tensor import Tensor
from gpunn._views import memory, written
from gpunn.errors import ShapeError, here
from gpunn.ops.accumulate import copy
from gpunn.ops.binary import reduce_to
from gpunn.ops.getitem import Sliced
from gpunn.ops.take_at import set_at, take_at
from gpunn.ops.take_slice import set_slice
from gpunn.ops.where import where
from gpunn.tape import record


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """``x[key] = value``, in place; on the tape where x or the value is.

    Parameters
    ----------
    x : Tensor
        A leaf that requires a gradient only under ``no_grad``.
    key : as for :func:`getitem`
        Where index arrays name an element more than once, the last value wins, on every device.
    value : Tensor, array or number
        Converted to x's dtype, broadcast to the shape of ``x[key]``.

    Raises
    ------
    UsageError
        If x is a leaf that requires a gradient, or a view of one.
    ShapeError
        If the value does not broadcast.
    """
    op = "setitem"
    if isinstance(key, Tensor) and key.dtype.kind == "b" and key.shape == x.shape and x.device.loader is not None:
        value = _value(op, x, value)
        if value.numel() == 1:  # one number for all, so it need not be known how many: a captured step takes this
            number = value.reshape(())
            rewrite(x, op, lambda old: where(key, number, old), number)
            return
    parts = parse(op, x, key)
    value = _value(op, x, value)
    wanted = _shape_of(x, parts)
    value = _fitted(op, value, wanted)
    if recorded(op, x, value):
        rewrite(x, op, lambda old: _replaced(op, old, parts, value, wanted), value)
        return
    array = memory(op, x)
    _put(x, array, value.array, parts)
    written(x, array)


def _value(op: str, x: Tensor, value: Any) -> Tensor:
    if is_cupy(value):
        value = constant(op, value, x.device)
    if not isinstance(value, Tensor):
        value = tensor(value, x.dtype if not isinstance(value, np.ndarray) else None, x.device)
    same_device(op, x.device, value.device)
    return value if value.dtype == x.dtype else value.to(x.dtype)


def _fitted(op: str, value: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """The value without the axes of 1 that it has too many."""
    extra = max(value.ndim - len(wanted), 0)
    shape = value.shape[extra:]
    try:
        fits = all(n == 1 for n in value.shape[:extra]) and np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{here(op)}: expected a value that broadcasts to {wanted}; got shape {value.shape}.")
    return value.reshape(shape) if extra else value


def _put(x: Tensor, array: Any, source: Any, parts: Parts) -> None:
    """Write a logical source to x's physical array."""
    target = logical(array)
    if parts.indices:
        set_at(x.device, target, source, parts.basic, parts.indices, parts.axes, parts.at)
    else:
        set_slice(x.device, target, source, parts.basic)


def _replaced(op: str, x: Tensor, parts: Parts, value: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """A copy of x with the value in it, on the tape."""
    device, shape = x.device, value.shape
    y = copy(device, x._physical)
    _put(x, y, value.array, parts)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        rest = part = None
        if needs[0]:
            rest = copy(device, dy)
            _put(x, rest, device.zeros((1,) * len(shape), dy.dtype), parts)
        if needs[1]:
            part = _taken(device, dy, parts)
            part = reduce_to(device, part, shape) if wanted != shape else part
        return rest, part

    return record(op, y, device, (x, value), backward, saves=parts.tensors, passes_on=True)


def with_slices(op: str, x: Tensor, axis: int, index: Tensor, value: Any, negative: bool) -> Tensor:
    """x with its slices at ``index`` (K,) along an axis replaced by ``value``; on the tape."""
    places = checked_index(op, x.device, index, axis, x.shape[axis], negative)
    parts = Parts((), [places], (axis,), axis, False, [index] if places is index.array else [])
    wanted = _shape_of(x, parts)
    value = _fitted(op, _value(op, x, value), wanted)
    if x.dtype.kind in FLOATING:
        return _replaced(op, x, parts, value, wanted)
    y = x.clone()
    _put(y, y._physical, value.array, parts)
    return y


def _taken(device: Device, dy: Any, parts: Parts) -> Any:
    """The elements of a physical gradient that the key names, physical."""
    if parts.basic or not parts.indices:
        dy, _ = Sliced("setitem", parts.basic).get(device, dy)
    return take_at(device, logical(dy), parts.indices, parts.axes, parts.at) if parts.indices else dy


def _shape_of(x: Tensor, parts: Parts) -> tuple[int, ...]:
    shape = Sliced("setitem", parts.basic).strides(x.shape, (0,) * x.ndim)[0]
    if not parts.indices:
        return shape
    rest = [n for a, n in enumerate(shape) if a not in parts.axes]
    common = np.broadcast_shapes(*(i.shape for i in parts.indices))
    return (*rest[: parts.at], *common, *rest[parts.at :])
