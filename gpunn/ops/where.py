"""Choosing element by element: where, masked_fill (``kernels/where.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn import errors
from gpunn._creation import tensor
from gpunn._device import Device, same_device
from gpunn._layout import address_of, physical_shape
from gpunn._promotion import category
from gpunn._rows import operand, together
from gpunn._rows import reduce_to as rows_to
from gpunn._tensor import Tensor
from gpunn.cpu.memory import empty
from gpunn.errors import DTypeError, ShapeError
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor
from gpunn.gpu.strided_copy import BLOCK, MAX_RANK, bits_of, copied, memory, merged
from gpunn.ops.binary import aligned, is_operand, number_of, operands, reduce_to
from gpunn.ops.nonzero import nonzero
from gpunn.primitive import primitive
from gpunn.tape import record

_MOST = 2**31 - BLOCK  # elements of a launch
SOURCE = KernelSource("where.cu", BYTES=(1, 2, 4, 8), VEC=(1, 4))
_AXIS = np.dtype([("length", DIVISOR), ("condition", np.int32), ("a", np.int64), ("b", np.int64)], align=True)
_BOX = np.dtype(
    [("rank", np.int32), ("axis", _AXIS, (MAX_RANK,)), ("a_bits", np.uint64), ("b_bits", np.uint64)], align=True
)


@primitive(returns=("y",))
def choose(xp: Any, condition: Any, a: Any, b: Any, shape: tuple[int, ...]) -> Any:
    """y = a where the condition holds, else b; broadcast to ``shape``; a and b may be numbers."""
    y = xp.empty(shape, a.dtype)
    y[...] = xp.where(condition, a, b)  # the same memory order, whatever the operands'
    return y


@choose.numpy
def _(condition: np.ndarray, a: Any, b: Any, shape: tuple[int, ...]) -> np.ndarray:
    # By bits: NumPy's where goes element by element.
    word = np.dtype(f"u{a.dtype.itemsize}")
    mask = np.negative(condition.astype(word))  # all bits set where it holds
    y = empty(shape, a.dtype)
    bits, first, second = y.view(word), a.view(word), b.view(word)
    if _is_number(a) or _is_number(b):  # one pass where the number is 0; what has the mask's shape is small
        array, number, keep = (second, first, ~mask) if _is_number(a) else (first, second, mask)
        np.bitwise_and(array, keep, out=bits)
        if number:
            bits |= number & ~keep
        return y
    np.bitwise_xor(first, second, out=bits)
    bits &= mask
    bits ^= second
    return y


@choose.kernel
def _(device: Device, condition: Any, a: Any, b: Any, shape: tuple[int, ...]) -> Any:
    y = device.empty(shape, a.dtype)
    if y.size == 0:
        return y
    operands = [condition, a, b]
    strides = [_strides(device, v, shape) for v in operands]
    lengths, (_, *steps) = merged(shape, y.strides, *strides)
    if len(lengths) <= MAX_RANK and y.size <= _MOST:
        _launch(device, y, operands, lengths, steps)
        return y
    # Too large for one launch: expand everything to full length and launch in parts.
    full = [
        v if _is_number(v) else copied(device, v, shape, s).reshape(-1) for v, s in zip(operands, strides, strict=True)
    ]
    flat = y.reshape(-1)
    for first in range(0, y.size, _MOST):
        part = slice(first, min(first + _MOST, y.size))
        few = [v if _is_number(v) else v[part] for v in full]
        _launch(device, flat[part], few, [part.stop - first], [[0 if _is_number(v) else v.itemsize] for v in few])
    return y


def _is_number(v: Any) -> bool:
    return isinstance(v, np.generic)


def _strides(device: Device, v: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (0,) * len(shape) if _is_number(v) else tuple(device.xp.broadcast_to(v, shape).strides)


def _launch(device: Device, y: Any, operands: list[Any], lengths: list[int], steps: list[list[int]]) -> None:
    """One launch; ``steps`` has the strides of condition, a and b along axes of these ``lengths``."""
    item = y.dtype.itemsize
    vec = 4 if lengths[-1] % 4 == 0 and address_of(y) % min(16, 4 * item) == 0 else 1
    for v, step, unit in zip(operands, steps, (1, item, item), strict=True):
        # A vector is four neighbours in a run, or one element four times.
        runs = step[-1] == 0 or (step[-1] == unit and all(s % (4 * unit) == 0 for s in step[:-1]))
        if not _is_number(v) and not (runs and address_of(v) % min(16, 4 * unit) == 0):
            vec = 1
    struct = np.zeros(1, _BOX)
    struct["rank"] = len(lengths)
    lengths = [*lengths[:-1], lengths[-1] // vec]
    for k, (n, *of) in enumerate(zip(lengths, *steps, strict=True)):
        struct["axis"][0][k] = divisor(n), *of
    for name, v in zip(("a_bits", "b_bits"), operands[1:], strict=True):
        struct[name] = bits_of(v, y.dtype) if _is_number(v) else 0
    threads = math.prod(lengths)
    args = (memory(y), *(None if _is_number(v) else memory(v) for v in operands), struct, threads)
    SOURCE.launch(device, "choose", (ceil_div(threads, BLOCK), 1, 1), BLOCK, args, BYTES=item, VEC=vec)


def where(condition: Tensor, a: Any = None, b: Any = None) -> Any:
    """``a`` where the condition holds, ``b`` elsewhere, with broadcasting.

    Parameters
    ----------
    condition : Tensor
        bool.
    a, b : Tensor or number
        Their dtypes meet as those of a sum do. Without both, returns the indices where the condition holds,
        like ``nonzero(condition, as_tuple=True)``.

    Returns
    -------
    Tensor
        Its gradient goes to the operand that was chosen, and is exactly 0 for the other.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they are incompatible.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([-1.0, 2.0])
    >>> where(x > 0, x, 0).tolist()
    [0.0, 2.0]
    """
    if a is None and b is None:
        return nonzero(condition, as_tuple=True)
    return _where("where", condition, a, b)


def _where(op: str, condition: Tensor, a: Any, b: Any) -> Tensor:
    if not isinstance(condition, Tensor) or condition.dtype.kind != "b":
        came = condition.dtype if isinstance(condition, Tensor) else type(condition).__name__
        raise DTypeError(
            f"{errors.here(op)}: expected a Tensor of bools as the condition; got {came}. Compare it first (x != 0)."
        )
    for v in (a, b):
        if not is_operand(v):
            raise DTypeError(f"{errors.here(op)}: expected tensors or numbers; got {type(v).__name__}.")
    if category(a) is not None and category(b) is not None:
        a = tensor(a, device=condition.device)  # its dtype and the other's category decide
    a, b = operands(op, a, b)
    inputs = tuple(v for v in (a, b) if isinstance(v, Tensor))
    device = same_device(op, condition.device, *(t.device for t in inputs))
    shapes = [t.shape for t in (condition, *inputs)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        text = ", ".join(map(str, shapes))
        raise ShapeError(f"{errors.here(op)}: shapes {text} do not broadcast together.") from None
    ndim = len(shape)
    rows = ndim == 4 and together(condition, *inputs)
    mask, pa, pb = (operand(v) if rows else aligned(v, ndim) for v in (condition, a, b))
    y = choose(device, mask, pa, pb, (1, *shape) if rows else physical_shape(shape))
    summed = rows_to if rows else reduce_to
    forms = [(i == 0, v.shape) for i, v in enumerate((a, b)) if isinstance(v, Tensor)]

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return tuple(
            summed(device, _kept(device, mask, dy, first), form) if need else None
            for (first, form), need in zip(forms, needs, strict=True)
        )

    return record(op, y, device, inputs, backward, saves=(condition,), rows=rows)


def _kept(device: Device, mask: Any, dy: Any, first: bool) -> Any:
    """dy where it belongs to the first choice (or the second), else 0."""
    zero = dy.dtype.type(0)
    return choose(device, mask, dy, zero, dy.shape) if first else choose(device, mask, zero, dy, dy.shape)


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """x with ``value`` where the mask holds.

    Parameters
    ----------
    x : Tensor
    mask : Tensor
        bool; x and mask broadcast together.
    value : number or Tensor of one element and no axes
        Converted to x's dtype.

    Raises
    ------
    DTypeError, ShapeError, DeviceError
        If they are incompatible, or the number does not fit into x's dtype.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([1.0, 2.0])
    >>> masked_fill(x, x > 1, float("-inf")).tolist()
    [1.0, -inf]
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(f"{errors.here('masked_fill')}: expected a value without axes; got shape {value.shape}.")
        return _where("masked_fill", mask, value.to(x.dtype), x)
    if category(value) is None:
        raise DTypeError(f"{errors.here('masked_fill')}: expected a number; got {type(value).__name__}.")
    number = number_of("masked_fill", value, x.dtype)
    if np.isinf(number) and not math.isinf(value):
        raise DTypeError(f"{errors.here('masked_fill')}: {value} does not fit into {x.dtype}. Convert x first.")
    return _where("masked_fill", mask, number, x)
