"""Arguments that the makers of tensors share: shapes, dtypes, devices, numbers, and what they write into."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture, watching
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import FLOATING, limits
from gpunn._interop import dtype_of, is_array
from gpunn._layout import physical_shape
from gpunn._promotion import default_float
from gpunn._tensor import Tensor, upload
from gpunn.errors import DTypeError, UsageError, here

_MOST, _AXES = 2**59, 32  # elements of 8 bytes whose addresses 63 bits hold; axes of an array
INT64, BOOL = np.dtype(np.int64), np.dtype(np.bool_)


class Goal:
    """What is to be made: its dtype, its device, and the tensor that it is written into, if there is one."""

    __slots__ = ("device", "dtype", "op", "out", "requires_grad")

    def __init__(self, op: str, dtype: np.dtype, device: Device, requires_grad: bool, out: Tensor | None) -> None:
        self.op, self.dtype, self.device, self.requires_grad, self.out = op, dtype, device, requires_grad, out

    def tensor(self, values: np.ndarray) -> Tensor:
        """The values, of the goal's dtype, as the tensor that was asked for.

        A captured step copies them from an array that is written before its first replay: it may change its copy.
        """
        values, device = np.asarray(values), self.device  # 0-d ones may be scalars
        step = watching()
        if step is None or step.device is not device:
            return self._uploaded(values)
        room = step.room(physical_shape(values.shape), self.dtype)
        if not step.frozen:
            return self._uploaded(values)
        written = False

        def before_replay() -> None:
            nonlocal written
            if not written:
                device.fill(room, Tensor(upload(values, device), device)._physical)
                written = True

        from gpunn.ops.copy_arrays import copy_arrays

        step.before_replay[before_replay] = before_replay
        made = device.empty(room.shape, self.dtype)
        if room.size:
            copy_arrays(device, [made], [room])
        return self.finished(Tensor._of_physical(made, device))

    def _uploaded(self, values: np.ndarray) -> Tensor:
        return self.finished(Tensor(upload(np.asarray(values), self.device), self.device))

    def drawn(self, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> Tensor:
        """What ``draw()`` returns, an array of the goal's dtype; a captured step has it called before each replay."""
        step, device = watching(), self.device
        if step is None:
            return self._uploaded(draw())
        if step.device is not device:
            refuse_in_capture(
                f"{self.op}: numbers on '{device}' in a step on '{step.device}'", "Draw them on the step's device."
            )
            return self._uploaded(draw())
        room = step.room(physical_shape(shape), self.dtype)
        if not step.frozen:
            return self._uploaded(draw())

        def before_replay() -> None:
            device.fill(room, Tensor(upload(np.asarray(draw()), device), device)._physical)

        step.before_replay[before_replay] = before_replay
        return self.finished(Tensor._of_physical(room, device))

    def finished(self, made: Tensor) -> Tensor:
        """A tensor of the goal's dtype and device, written into ``out`` if there is one."""
        if self.out is None:
            return made.requires_grad_() if self.requires_grad else made
        from gpunn._out import write_out

        result: Tensor = write_out(self.op, self.out, made)
        return result


def goal_of(
    op: str, dtype: Any, device: Any, requires_grad: Any = False, out: Any = None, *, default: np.dtype | None = None
) -> Goal:
    """The arguments that say what is to be made, checked; ``out`` decides where nothing else does.

    Raises
    ------
    DTypeError, DeviceError, UsageError
        If one is invalid, or contradicts ``out``.
    """
    if not isinstance(requires_grad, bool) and requires_grad is not None and not isinstance(requires_grad, np.bool_):
        raise UsageError(f"{here(op)}: requires_grad: expected True or False; got {requires_grad!r}.")
    if out is not None:
        from gpunn._out import check_out

        if not isinstance(out, Tensor):
            raise DTypeError(f"{here(op)}: out: expected a Tensor; got {type(out).__name__}.")
        check_out(op, out)
    wanted = None if dtype is None else dtype_of(op, dtype)
    if out is not None:
        if wanted is not None and wanted != out.dtype:
            raise DTypeError(f"{here(op)}: dtype: {wanted} was asked for, but out has {out.dtype}. Leave one out.")
        if requires_grad:
            raise UsageError(f"{here(op)}: requires_grad: out is made already; call out.requires_grad_() instead.")
    kind = wanted if wanted is not None else (default or default_float()) if out is None else out.dtype
    if requires_grad and kind.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: only floating dtypes can require a gradient; got {kind}. Pass dtype='float32'.")
    home = (default_device() if out is None else out.device) if device is None else get_device(device)
    return Goal(op, kind, home, bool(requires_grad), out)


# -- shapes ---------------------------------------------------------------------------------------


def shape_of(op: str, shape: Any) -> tuple[int, ...]:
    """The lengths that ``*shape`` stands for: whole numbers, or one iterable of them.

    Raises
    ------
    UsageError
        If one is no whole number of at least 0, or there would be too many elements.
    """
    lengths = shape
    if len(lengths) == 1 and type(lengths[0]) is not int:
        lengths = _unpacked(lengths[0])
    if not all(type(n) is int and n >= 0 for n in lengths):
        lengths = _whole_lengths(op, lengths, shape[0] if len(shape) == 1 else shape)
    if (math.prod(lengths) or math.prod([n or 1 for n in lengths])) > _MOST or len(lengths) > _AXES:
        raise UsageError(f"{here(op)}: shape: {tuple(lengths)} is more than any array holds.")
    return tuple(lengths)


def _unpacked(lengths: Any) -> tuple[Any, ...]:
    """One argument as the lengths it stands for; one that stands for none, such as a text, as it is."""
    if isinstance(lengths, str | bytes | dict) or not isinstance(lengths, Iterable) or not getattr(lengths, "ndim", 1):
        return (lengths,)
    if isinstance(lengths, Tensor):
        lengths = lengths._numpy_without_tape()
    return tuple(lengths.tolist() if is_array(lengths) and lengths.ndim == 1 else lengths)


def _whole_lengths(op: str, lengths: Any, given: Any) -> tuple[int, ...]:
    from gpunn._shared.numbers import as_int

    whole = tuple(as_int(n) for n in lengths)
    if not all(n is not None and n >= 0 for n in whole):
        raise UsageError(f"{here(op)}: shape: expected whole numbers of at least 0; got {given!r}.")
    return whole


def count_of(op: str, name: str, value: Any) -> int:
    """``value`` as a whole number of at least 0."""
    if type(value) is int and value >= 0:
        return value
    from gpunn._shared.numbers import whole_number

    return whole_number(op, name, value, 0)


# -- numbers --------------------------------------------------------------------------------------


def number_of(op: str, name: str, value: Any) -> Any:
    """``value`` as Python's bool, int or float: one of those, of NumPy's, or a tensor or array without axes.

    Raises
    ------
    DTypeError
        If it is none of them.
    """
    if isinstance(value, Tensor | np.ndarray | np.generic) and not value.ndim:
        value = value.item()
    if not isinstance(value, bool | int | float):
        raise DTypeError(f"{here(op)}: {name}: expected a real number; got {_told(value)}.")
    return value


def _told(value: Any) -> str:
    if isinstance(value, Tensor) or is_array(value):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    return repr(value) if isinstance(value, str | complex) else type(value).__name__


def default_dtype(*numbers: Any) -> np.dtype:
    """The dtype of these numbers: the default floating one, int64 or bool."""
    if any(isinstance(n, float) for n in numbers):
        return default_float()
    return BOOL if all(isinstance(n, bool) for n in numbers) else INT64


def fitting(op: str, name: str, value: Any, dtype: np.dtype) -> Any:
    """A number as a NumPy scalar of ``dtype``; a fraction is cut off by integers.

    Raises
    ------
    DTypeError
        If it is out of the dtype's range.
    """
    finite = isinstance(value, int) or math.isfinite(value)
    if dtype.kind in FLOATING:
        fits = not finite or abs(value) <= float(limits(dtype).max)
    elif dtype.kind == "b":
        fits = True
    else:
        fits = finite and np.iinfo(dtype).min <= int(value) <= np.iinfo(dtype).max
    if not fits:
        raise DTypeError(f"{here(op)}: {name}: {value} does not fit into {dtype}. Pass another dtype=.")
    return dtype.type(int(value) if dtype.kind in "iu" else value)
