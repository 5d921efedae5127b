"""Launches of the kernels whose operands are broadcast to one shape (``kernels/broadcast.cuh``).

Arrays here are physical and contiguous; a number may stand in for an operand.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.errors import DTypeError, ShapeError
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct

C_TYPES = {"f4": "float", "f8": "double", "i8": "int64", "i4": "int", "u1": "uint8", "b1": "uint8"}
NUMBERS = ("float", "double", "int64", "int", "uint8")
SOURCE = KernelSource("broadcast.cu", REAL=NUMBERS)
PAIRS = KernelSource("pair_backward.cu", REAL=("float", "double"))
SPREAD = KernelSource("spread.cu", REAL=("float", "double"))
_AXES = 6
_BLOCK = 256

# In the order of broadcast.cu.
_OPERATIONS = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "floordiv",
    "remainder",
    "maximum",
    "minimum",
    "and",
    "or",
    "xor",
    "left",
]
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_CODES = {name: code for code, name in enumerate(_OPERATIONS)}
_CODES |= {name: 16 + code for code, name in enumerate(_COMPARISONS)}
# The bool operator that an arithmetic one becomes on bytes 0 and 1, where the result is a bool again.
_ON_BOOLS = {"add": "or", "mul": "and", "maximum": "or", "minimum": "and"}


def c_number(op: str, dtype: Any) -> str:
    """The C name of a dtype that kernels calculate with; DTypeError naming ``op``."""
    try:
        return C_TYPES[np.dtype(dtype).str[1:]]
    except KeyError:
        raise DTypeError(
            f"{op}: kernels know float32, float64, int64, int32, uint8 and bool; got {np.dtype(dtype)}. "
            "Convert with .to(dtype)."
        ) from None


def as_numbers(array: Any) -> Any:
    """The same memory, with bools as bytes."""
    return array.view(np.uint8) if array.dtype.kind == "b" else array


# -- geometry -------------------------------------------------------------------------------------


def collapsed(shape: tuple[int, ...], *operands: tuple[int, ...]) -> tuple[list[int], list[tuple[bool, ...]]]:
    """Lengths of the axes of ``shape`` that remain when neighbours are merged, and which operands have each.

    Axes of 1 are dropped; neighbours along which the same operands are repeated become one.
    """
    padded = [(1,) * (len(shape) - len(o)) + tuple(o) for o in operands]
    lengths: list[int] = []
    present: list[tuple[bool, ...]] = []
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        here = tuple(o[axis] != 1 for o in padded)
        if present and present[-1] == here:
            lengths[-1] *= length
        else:
            lengths.append(length)
            present.append(here)
    if not lengths:
        return [1], [(False,) * len(operands)]
    return lengths, present


@functools.lru_cache(maxsize=1024)
def _geometry(
    shape: tuple[int, ...], operands: tuple[tuple[int, ...], ...], width: int
) -> tuple[Struct, tuple[bool, ...], int]:
    """``struct Broadcast``, which operands run along the last axis, and the last axis's length.

    The struct is passed by value and never written to.
    """
    lengths, present = collapsed(shape, *operands)
    if len(lengths) > _AXES:
        raise ShapeError(
            f"broadcasting {', '.join(map(str, operands))} to {shape} alternates between {len(lengths)} groups of "
            f"axes; kernels know {_AXES}. Expand an operand first."
        )
    count = len(operands)
    strides = np.zeros((count, _AXES), np.int64)
    for k in range(count):
        step = 1
        for d in range(len(lengths) - 1, -1, -1):
            if present[d][k]:
                strides[k, _AXES - len(lengths) + d] = step
                step *= lengths[d]
    dtype = np.dtype(
        [("stride", np.int64, (count, _AXES)), ("length", DIVISOR, (_AXES,)), ("axes", np.int32), ("wide", np.int32)],
        align=True,
    )
    made = np.zeros(1, dtype)
    pieces = [*lengths[:-1], lengths[-1] // width]
    for d, length in enumerate(pieces):
        made["length"][0, _AXES - len(lengths) + d] = divisor(max(length, 1))
    made["stride"][0], made["axes"], made["wide"] = strides, len(lengths), int(width == 4)
    return Struct(made), present[-1], lengths[-1]


def launch_broadcast(
    source: KernelSource,
    kernel: str,
    device: Device,
    before: tuple[Any, ...],
    after: tuple[Any, ...],
    *,
    shape: tuple[int, ...],
    dtype: Any,
    whole: tuple[Any, ...],
    repeated: tuple[Any, ...],
) -> None:
    """Launch a kernel with one thread per piece of 4 elements, or of 1 where vectors are not aligned.

    Parameters
    ----------
    before, after : tuple
        The kernel's arguments before and after the struct; the number of pieces is its last.
    shape : tuple of int
        The full shape.
    dtype : numpy dtype
        The kernel's ``real``.
    whole : tuple of array or None
        Which arrays are of the full shape.
    repeated : tuple of array or None
        The operands whose strides are in the struct; None for a number.
    """
    n = math.prod(shape)
    if n == 0:
        return
    shapes = tuple(() if o is None else tuple(o.shape) for o in repeated)
    _, along, length = _geometry(shape, shapes, 1)
    width = vector_width(length, *whole, *(o for o, has in zip(repeated, along, strict=True) if has))
    geometry, _, _ = _geometry(shape, shapes, width)
    pieces = n // width
    if geometry["axes"] > 1 and pieces >= 2**31:
        raise ShapeError(f"{kernel}: {n} elements are too many for 32-bit sizes: split the batch.")
    args = (*before, geometry, *after, pieces)
    source.launch(device, kernel, (ceil_div(pieces, _BLOCK), 1, 1), _BLOCK, args, REAL=c_number(kernel, dtype))


# -- operators ------------------------------------------------------------------------------------


def split_number(operand: Any) -> tuple[Any, Any]:
    """An array and 0, or None and the number."""
    is_number = operand is None or isinstance(operand, np.generic | bool | int | float)
    return (None, 0 if operand is None else operand) if is_number else (as_numbers(operand), 0)


def launch_binary(device: Device, name: str, a: Any, b: Any, shape: tuple[int, ...] | None = None) -> Any:
    """The operator ``name`` of a and b, at least one an array; "left" copies a. ``shape`` may be larger than both."""
    dtype = (b if isinstance(a, np.generic | bool | int | float) else a).dtype
    full = tuple(np.broadcast_shapes(getattr(a, "shape", ()), getattr(b, "shape", ()))) if shape is None else shape
    compares = name in _COMPARISONS
    c_number(name, dtype)  # refuse before anything is allocated
    y = device.empty(full, np.bool_ if compares else dtype)
    if not compares:
        name = _for_dtype(name, dtype)
    (a, a_number), (b, b_number) = split_number(a), split_number(b)
    out = as_numbers(y)
    launch_broadcast(
        SOURCE,
        "broadcast_binary",
        device,
        (*((None, out) if compares else (out, None)), a, b, a_number, b_number),
        (_CODES[name],),
        shape=full,
        dtype=dtype,
        whole=(out,),
        repeated=(a, b),
    )
    return y


def _for_dtype(name: str, dtype: Any) -> str:
    """The operator that bools use in place of ``name``; other dtypes use ``name`` itself."""
    if dtype.kind != "b" or name in ("and", "or", "xor", "left"):
        return name
    if name not in _ON_BOOLS:
        raise DTypeError(f"{name}: not for bools; convert with .int() or .float().")
    return _ON_BOOLS[name]


def launch_update(device: Device, name: str, target: Any, other: Any) -> None:
    """target = target op other, with ``other`` broadcast to target's shape."""
    name, target = _for_dtype(name, target.dtype), as_numbers(target)
    array, number = split_number(other)
    if array is not None and device.overlap(target, array):
        array = launch_binary(device, "left", array, 0)  # a copy of the old values, whichever thread writes first
    launch_broadcast(
        SOURCE,
        "broadcast_update",
        device,
        (target, array, number),
        (_CODES[name],),
        shape=tuple(target.shape),
        dtype=target.dtype,
        whole=(target,),
        repeated=(array,),
    )


def launch_repeat(device: Device, x: Any, shape: tuple[int, ...], factor: float = 1.0) -> Any:
    """factor * x, broadcast to ``shape``; a copy."""
    if factor == 1.0:
        return launch_binary(device, "left", x, 0, shape)
    return launch_binary(device, "mul", x, x.dtype.type(factor), shape)


# -- gradients ------------------------------------------------------------------------------------


def launch_pair_backward(device: Device, dy: Any, a: Any, b: Any, largest: bool, bounds: bool) -> tuple[Any, Any]:
    """Gradients of maximum or minimum, or of a and its bound b; both of dy's shape."""
    da, db = device.empty(dy.shape, dy.dtype), device.empty(dy.shape, dy.dtype)
    (a, a_number), (b, b_number) = split_number(a), split_number(b)
    before = (da, db, dy, a, b, a_number, b_number)
    launch_broadcast(
        PAIRS,
        "extremum_pair_backward",
        device,
        before,
        (int(largest), int(bounds)),
        shape=tuple(dy.shape),
        dtype=dy.dtype,
        whole=(da, db, dy),
        repeated=(a, b),
    )
    return da, db


def launch_power_backward(
    device: Device, dy: Any, base: Any, exponent: Any, y: Any, needs: tuple[bool, bool]
) -> tuple[Any | None, Any | None]:
    """Gradients of base ** exponent, of dy's shape, where they are needed."""
    dbase, dexponent = (device.empty(dy.shape, dy.dtype) if need else None for need in needs)
    (a, a_number), (b, b_number) = split_number(base), split_number(exponent)
    before = (dbase, dexponent, dy, y, a, b, a_number, b_number)
    launch_broadcast(
        PAIRS,
        "power_backward",
        device,
        before,
        (),
        shape=tuple(dy.shape),
        dtype=dy.dtype,
        whole=(dbase, dexponent, dy, y),
        repeated=(a, b),
    )
    return dbase, dexponent


def launch_spread(device: Device, kernel: str, x: Any, dy: Any, before: tuple[Any, ...]) -> Any:
    """dx of x's shape from dy, broadcast to it; ``before`` follows (dx, dy, x) in the kernel's arguments."""
    dx = device.empty(x.shape, x.dtype)
    launch_broadcast(
        SPREAD,
        kernel,
        device,
        (dx, dy, x, *before),
        (),
        shape=tuple(x.shape),
        dtype=x.dtype,
        whole=(dx, x),
        repeated=(dy,),
    )
    return dx
