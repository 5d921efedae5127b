"""What the functions on arrays share: checks, the way into tensors off the tape, and axes in front."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gpunn._device import Device
from gpunn._interop import home_of, is_array, is_cupy, tensor_of
from gpunn._tensor import Tensor
from gpunn.errors import DeviceError, DTypeError, ShapeError, here

_REAL, _COMPLEX = ("float32", "float64"), ("complex64", "complex128")


def device_of(op: str, arrays: dict[str, Any]) -> Device:
    """The one device of NumPy or CuPy arrays, of which some may be None."""
    given = {name: array for name, array in arrays.items() if array is not None}
    for name, array in given.items():
        if not is_array(array):
            raise DTypeError(
                f"{here(op)}: {name}: expected a NumPy or CuPy array; got {type(array).__name__}. For tensors there is "
                "gpunn.nn.functional; lists go through numpy.asarray or cupy.asarray."
            )
    homes = {name: home_of(array) for name, array in given.items()}
    (first, home), *others = homes.items()
    for name, other in others:
        if other is not home:
            raise DeviceError(
                f"{here(op)}: expected all arrays on one device; {first} is on '{home}' and {name} on '{other}'. Move "
                "one with cupy.asarray or cupy.asnumpy."
            )
    return home


_Function = TypeVar("_Function", bound=Callable[..., Any])


def on_own_gpu(function: _Function) -> _Function:
    """``function`` with the GPU of its first CuPy array as CuPy's current one, which may be another."""

    @functools.wraps(function)
    def switching(*args: Any, **named: Any) -> Any:
        first = next((v for v in (*args, *named.values()) if is_cupy(v)), None)
        if first is None:
            return function(*args, **named)
        with home_of(first).active():
            return function(*args, **named)

    return switching  # type: ignore[return-value]


def enter(op: str, *, complexes: bool = False, **arrays: Any) -> Device:
    """The device of floating arrays of one precision, after the checks that all functions make.

    Raises
    ------
    DTypeError
        If one is no array, neither float32 nor float64 (nor complex, with ``complexes``), or of another precision.
    DeviceError
        If they are on different devices.
    """
    home = device_of(op, arrays)
    allowed = _REAL + (_COMPLEX if complexes else ())
    precisions: dict[int, str] = {}
    for name, array in arrays.items():
        if array is None:
            continue
        if array.dtype.name not in allowed:
            fix = "Pass .real and .imag in turn." if array.dtype.kind == "c" else "Convert it with .astype('float32')."
            raise DTypeError(f"{here(op)}: {name}: expected {' or '.join(allowed)}; got {array.dtype.name}. {fix}")
        bytes_of_real = array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1)
        precisions.setdefault(bytes_of_real, f"{name} is {array.dtype.name}")
    if len(precisions) > 1:
        raise DTypeError(
            f"{here(op)}: expected one precision; {' and '.join(precisions.values())}. Convert one with .astype."
        )
    return home


def tensor(op: str, array: Any, home: Device) -> Tensor:
    """An array as a tensor off the tape, in the same memory where the layout allows."""
    return tensor_of(op, array, home)


def tensors(op: str, home: Device, *arrays: Any) -> tuple[Any, ...]:
    """Arrays as tensors off the tape; None stays None."""
    return tuple(None if a is None else tensor(op, a, home) for a in arrays)


def physical_of(op: str, array: Any, home: Device) -> Any:
    """The array that primitives get, or None."""
    return None if array is None else tensor_of(op, array, home)._physical


def require_shape(op: str, name: str, array: Any, expected: tuple[int, ...]) -> None:
    """Raise ShapeError unless the array, if there is one, has this shape."""
    if array is not None and array.shape != expected:
        raise ShapeError(f"{here(op)}: {name}: expected shape {expected}; got {array.shape}.")


def merged(array: Any, axes: int) -> Any:
    """The array with everything before its last ``axes`` axes merged into one; a view where strides allow."""
    if array.ndim == axes + 1:
        return array
    lead = array.shape[: array.ndim - axes]
    return array.reshape(math.prod(lead), *array.shape[len(lead) :])


def in_memory_order(array: Any) -> tuple[Any, bool]:
    """The array itself where it is channels-last images, else flat in C order; and whether it is the former."""
    if array.ndim == 4 and not array.flags.c_contiguous and array.transpose(0, 2, 3, 1).flags.c_contiguous:
        return array, True
    return array.reshape(-1), False


def join(real: Any, imag: Any) -> Any:
    """real + i imag, for two real or two complex arrays; no product, which would spoil infinities."""
    xp = np if isinstance(real, np.ndarray) else home_of(real).xp
    y = xp.empty_like(real, dtype=np.result_type(real.dtype, np.complex64))
    if real.dtype.kind == "c":
        y.real, y.imag = real.real - imag.imag, real.imag + imag.real
    else:
        y.real, y.imag = real, imag
    return y


def bilinear(f: Any, a: Any, b: Any) -> Any:
    """f(a, b) for real or complex arrays, by an f of two real ones that is linear in both."""
    if a.dtype.kind == "c":
        return join(bilinear(f, a.real, b), bilinear(f, a.imag, b))
    if b.dtype.kind == "c":
        return join(f(a, b.real), f(a, b.imag))
    return f(a, b)


def like(gradient: Any, array: Any) -> Any:
    """The gradient of a real array is the real part."""
    return gradient.real if gradient.dtype.kind == "c" and array.dtype.kind != "c" else gradient
