"""Copying values into a tensor: ``copy_``, ``fill_`` and ``zero_``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._in_place import recorded, rewrite
from gpunn._interop import is_array, tensor_of
from gpunn._layout import logical
from gpunn._tensor import Tensor
from gpunn._views import memory, store, written
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.ops.accumulate import copy
from gpunn.ops.binary import reduce_to, repeat_to
from gpunn.ops.cast import to_device, to_dtype
from gpunn.ops.permute import in_shape
from gpunn.ops.reshape import reshape
from gpunn.tape import record


def copy_from(x: Tensor, source: Any, op: str = "copy_") -> Tensor:
    """Give x the values of ``source``, in place; on the tape where x or the source is. Returns x.

    Parameters
    ----------
    x : Tensor
    source : Tensor, number, or an array of NumPy, CuPy
        Of any device; converted to x's dtype and broadcast to its shape.
    op : str
        The name for errors and on the tape.

    Raises
    ------
    ShapeError
        If it does not broadcast.
    UsageError
        If x is a leaf that requires a gradient and ops are being recorded.
    """
    value = _value(op, x, source)
    if recorded(op, x, value):
        return rewrite(x, op, lambda old: _taking_over(op, old, value), value)
    if isinstance(value, Tensor):
        there = to_device(value, x.device)
        y = repeated(there._physical, x)
        # A view that is a copy keeps what it is given; and what is written to shared memory may be read again.
        keeps = x._view is not None and x._view.copied and there is value
        store(op, x, copy(x.device, y) if keeps or value._storage is x._storage else y)
        return x
    refuse_in_capture(f"{op} (array-library code)")
    array = memory(op, x)
    x.device.fill(array, value)
    written(x, array)
    return x


def _value(op: str, x: Tensor, source: Any) -> Any:
    """The source as a number of x's dtype, or as a tensor of it that broadcasts to x's shape."""
    if not isinstance(source, Tensor) and not is_array(source):
        if not isinstance(source, bool | int | float | np.generic):
            raise DTypeError(
                f"{here(op)}: expected a Tensor, an array or a number; got {type(source).__name__}. "
                "Use gpunn.tensor(...)."
            )
        try:
            return x.dtype.type(source)
        except (OverflowError, ValueError) as error:
            raise DTypeError(f"{here(op)}: {source!r} does not fit into {x.dtype}: {error}.") from error
    value = source if isinstance(source, Tensor) else tensor_of(op, source)
    extra = max(value.ndim - x.ndim, 0)
    shape = value.shape[extra:]
    last = x.shape[x.ndim - len(shape) :]
    if any(n != 1 for n in value.shape[:extra]) or any(n not in (1, m) for n, m in zip(shape, last, strict=True)):
        raise ShapeError(f"{here(op)}: expected a shape that broadcasts to {x.shape}; got {value.shape}.")
    if extra:
        value = reshape(value, shape)
    return to_dtype(value, x.dtype)


def repeated(array: Any, x: Tensor) -> Any:
    """A physical array in x's shape."""
    shape = logical(array).shape
    if shape == x.shape:
        return array
    return repeat_to(x.device, in_shape(x.device, array, (1,) * (x.ndim - len(shape)) + shape), x._physical.shape)


def _taking_over(op: str, x: Tensor, value: Any) -> Tensor:
    """A tensor in x's place on the tape with the values of ``value``."""
    device = x.device
    if not isinstance(value, Tensor):
        y = device.empty(x._physical.shape, x.dtype)
        device.fill(y, value)
        return record(op, y, device, (x,), lambda dy, needs: (device.zeros(dy.shape, dy.dtype),))
    value = to_device(value, device)
    shape = value.shape
    y = copy(device, repeated(value._physical, x))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        before = device.zeros(dy.shape, dy.dtype) if needs[0] else None
        return before, reduce_to(device, dy, shape) if needs[1] else None

    return record(op, y, device, (x, value), backward, passes_on=True)
