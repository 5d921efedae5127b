"""Division with broadcasting: true, floored, and its remainder."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import BadData, DTypeError, UsageError, ZeroDivisorError, here
from gpunn.ops.accumulate import scale
from gpunn.ops.binary import binary, broadcast_binary, operands
from gpunn.ops.cast import cast
from gpunn.ops.take_at import valid_index
from gpunn.ops.unary import ceil, floor, unary_backward
from gpunn.ops.where import where
from gpunn.tape import no_grad, record


def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Tensor:
    """a / b with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        As in :func:`add`.
    rounding_mode : "trunc" or "floor", optional
        Round the quotient towards 0, or down. Its gradient is then 0.

    Returns
    -------
    Tensor
        For integers float32, or with a rounding mode an integer.

    Raises
    ------
    UsageError
        If the rounding mode is unknown.
    DTypeError, DeviceError, ShapeError
        If the operands are incompatible.
    """
    if rounding_mode is not None:
        return _rounded(a, b, rounding_mode)
    if casting.on and not isinstance(a, Tensor):  # to PyTorch this is a reciprocal and a product
        (b,) = casting.inputs("reciprocal", b)

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "div", dy, pb)
        if not needs[1]:
            return da, None
        return da, scale(device, broadcast_binary(device, "mul", da, y), -1.0)

    return binary("div", a, b, gradients, ("b", "by"), divides=True)


def _rounded(a: Any, b: Any, mode: str) -> Tensor:
    if mode not in ("trunc", "floor"):
        raise UsageError(f"{here('div')}: rounding_mode: expected None, 'trunc' or 'floor'; got {mode!r}.")
    inputs = tuple(v for v in (a, b) if isinstance(v, Tensor))
    with no_grad():
        y = floor_divide(a, b) if mode == "floor" else _truncated(a, b)
    if y.dtype.kind not in FLOATING:
        return y
    device, sources = y.device, [v._physical for v in inputs]

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        # The gradient of floor is 0, also where dy is not finite.
        return tuple(
            unary_backward(device, "floor", v, v) if need else None for v, need in zip(sources, needs, strict=True)
        )

    return record("div", y._physical, device, inputs, backward)


def _truncated(a: Any, b: Any) -> Tensor:
    if any((v.dtype if isinstance(v, Tensor) else np.result_type(v)).kind in FLOATING for v in (a, b)):
        quotient = div(a, b)
        return where(quotient < 0, ceil(quotient), floor(quotient))
    down = floor_divide(a, b)
    inexact = remainder(a, b) != 0
    return where(inexact & (down < 0), down + 1, down)


def floor_divide(a: Any, b: Any) -> Tensor:
    """The largest integer not above a / b, with broadcasting; ``a`` and ``b`` as in :func:`add`. No gradient.

    Raises
    ------
    ZeroDivisorError
        If both are integers and a divisor is 0. Where kernels run, when the host next reads something.
    DTypeError
        If both are bools.
    """
    a, b = _whole("floor_divide", *operands("floor_divide", a, b))
    return binary("floordiv", a, b, None)


def remainder(a: Any, b: Any) -> Tensor:
    """a - b floor(a / b), with b's sign; ``a`` and ``b`` as in :func:`add`. Only a gets a gradient.

    Raises
    ------
    ZeroDivisorError
        If both are integers and a divisor is 0. Where kernels run, when the host next reads something.
    DTypeError
        If both are bools.
    """

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        return dy, None

    if isinstance(b, Tensor) and b.requires_grad:
        raise UsageError(f"{here('remainder')}: the divisor gets no gradient; use b.detach().")
    a, b = _whole("remainder", *operands("remainder", a, b))
    return binary("remainder", a, b, gradients, passes_on=True)


def _whole(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Operands of one dtype whose quotient is to be a whole number; no integer is divided by 0."""
    if b.dtype.kind in FLOATING:
        return a, b
    if b.dtype.kind == "b":
        raise DTypeError(f"{here(op)}: expected numbers; got bools. Convert with .int() or .float().")
    # Without elements nothing is divided. Shapes broadcast, so a length of 0 is one of the result.
    if isinstance(b, np.generic):
        if b == 0 and a.numel():
            raise ZeroDivisorError(
                f"{here(op)}: an integer cannot be divided by 0. Convert with .float() for infinity."
            )
    elif b.numel() and not (isinstance(a, Tensor) and not a.numel()):
        _refuse_zeros(op, b)
    return a, b


def _refuse_zeros(op: str, divisor: Tensor) -> None:
    """Raise if there is a 0. Where kernels run, which nobody should wait for, it is reported as bad data."""
    device, array = divisor.device, divisor._physical
    place = here(op)
    if device.loader is not None:
        zeros = cast(device, broadcast_binary(device, "eq", array, divisor.dtype.type(0)), np.dtype(np.int32))
        valid_index(device, zeros, 1, False, BadData(place, ZeroDivisorError, _by_zero))
    elif not bool((array != 0).all()):
        at = int((array.reshape(-1) == 0).argmax())
        raise ZeroDivisorError(_by_zero(place, at))


def _by_zero(place: str, index: int) -> str:
    return (
        f"{place}: an integer cannot be divided by 0, which stands at position {index} of the divisor. Convert with "
        ".float() for infinity, or choose another divisor there with gpunn.where()."
    )
