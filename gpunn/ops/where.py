"""Choosing element by element: where, masked_fill."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import errors
from gpunn._creation import tensor
from gpunn._device import Device, same_device
from gpunn._layout import physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError
from gpunn.ops.broadcast import aligned, is_operand, operands, reduce_to
from gpunn.ops.indexing import nonzero
from gpunn.primitive import primitive
from gpunn.tape import record


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    condition = rng.random((2, 3)) > 0.5
    a, b = rng.standard_normal((2, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    a[0, 0] = b[1] = np.nan
    number = np.float32(2)
    cases = [(condition, a, b), (condition, number, a), (condition[0], a, number), (condition, number, number)]
    made = [{"condition": c, "a": p, "b": q, "shape": (2, 3)} for c, p, q in cases]
    empty = {"condition": condition[:0], "a": a[:0], "b": np.float32(0), "shape": (0, 3)}
    return [*made, empty, {"condition": np.array(True), "a": np.array(1), "b": np.array(2), "shape": ()}]


@primitive(examples=_examples, returns=("y",))
def choose(xp: Any, condition: Any, a: Any, b: Any, shape: tuple[int, ...]) -> Any:
    """y = a where the condition holds, else b; broadcast to ``shape``; a and b may be numbers."""
    y = xp.empty(shape, a.dtype)
    y[...] = xp.where(condition, a, b)  # one order in memory, whatever that of the operands
    return y


def where(condition: Tensor, a: Any = None, b: Any = None) -> Any:
    """``a`` where the condition holds, ``b`` elsewhere, with broadcasting.

    Parameters
    ----------
    condition : Tensor
        bool.
    a, b : Tensor or number
        Of one dtype; numbers take the tensor's. Without both, the places where the condition holds are
        returned, as by ``nonzero(condition, as_tuple=True)``.

    Returns
    -------
    Tensor
        Its gradient goes to the one that was chosen, and is exactly 0 at the other.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not go together.

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
            f"{errors.where(op)}: expected a Tensor of bools as the condition; got {came}. Compare it first (x != 0)."
        )
    for v in (a, b):
        if not is_operand(v):
            raise DTypeError(f"{errors.where(op)}: expected tensors or numbers; got {type(v).__name__}.")
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):  # two numbers: the dtype of both together
        floats = any(isinstance(v, float | np.floating) for v in (a, b))
        bools = all(isinstance(v, bool | np.bool_) for v in (a, b))
        kind = np.float32 if floats else np.bool_ if bools else np.int64
        a = tensor(a, dtype=kind, device=condition.device)
    a, b = operands(op, a, b)
    inputs = tuple(v for v in (a, b) if isinstance(v, Tensor))
    device = same_device(errors.where(op), condition.device, *(t.device for t in inputs))
    shapes = [t.shape for t in (condition, *inputs)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        text = ", ".join(map(str, shapes))
        raise ShapeError(f"{errors.where(op)}: shapes {text} do not broadcast together.") from None
    ndim, stored = len(shape), physical_shape(shape)
    mask = aligned(condition, ndim)
    y = choose(device, mask, aligned(a, ndim), aligned(b, ndim), stored)
    forms = [(i == 0, v.shape) for i, v in enumerate((a, b)) if isinstance(v, Tensor)]

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return tuple(
            reduce_to(device, _kept(device, mask, dy, first), form) if need else None
            for (first, form), need in zip(forms, needs, strict=True)
        )

    return record(op, y, device, inputs, backward, saves=(condition,))


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
        If they do not go together.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([1.0, 2.0])
    >>> masked_fill(x, x > 1, float("-inf")).tolist()
    [1.0, -inf]
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(f"{errors.where('masked_fill')}: expected a value without axes; got shape {value.shape}.")
        return _where("masked_fill", mask, value.to(x.dtype), x)
    return _where("masked_fill", mask, x.dtype.type(value), x)
