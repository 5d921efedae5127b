"""Division with broadcasting: true, floored, and its remainder."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.accumulate import scale
from gpunn.ops.binary import binary, broadcast_binary
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

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "div", dy, pb)
        if not needs[1]:
            return da, None
        return da, scale(device, broadcast_binary(device, "mul", da, y), -1.0)

    return binary("div", a, b, gradients, divides=True)


def _rounded(a: Any, b: Any, mode: str) -> Tensor:
    if mode not in ("trunc", "floor"):
        raise UsageError(f"{here('div')}: rounding_mode: expected None, 'trunc' or 'floor'; got {mode!r}.")
    inputs = tuple(v for v in (a, b) if isinstance(v, Tensor))
    with no_grad():
        y = floor_divide(a, b) if mode == "floor" else _truncated(a, b)
    if y.dtype.kind != "f":
        return y
    device, sources = y.device, [v._physical for v in inputs]

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        # The gradient of floor is 0, also where dy is not finite.
        return tuple(
            unary_backward(device, "floor", v, v) if need else None for v, need in zip(sources, needs, strict=True)
        )

    return record("div", y._physical, device, inputs, backward)


def _truncated(a: Any, b: Any) -> Tensor:
    if any((v.dtype if isinstance(v, Tensor) else np.result_type(v)).kind == "f" for v in (a, b)):
        quotient = div(a, b)
        return where(quotient < 0, ceil(quotient), floor(quotient))
    down = floor_divide(a, b)
    inexact = remainder(a, b) != 0
    return where(inexact & (down < 0), down + 1, down)


def floor_divide(a: Any, b: Any) -> Tensor:
    """The largest integer not above a / b, with broadcasting; ``a`` and ``b`` as in :func:`add`. No gradient."""
    return binary("floordiv", a, b, None)


def remainder(a: Any, b: Any) -> Tensor:
    """a - b floor(a / b), with b's sign; ``a`` and ``b`` as in :func:`add`. Only a gets a gradient."""

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        return dy, None

    if isinstance(b, Tensor) and b.requires_grad:
        raise UsageError(f"{here('remainder')}: the divisor gets no gradient; use b.detach().")
    return binary("remainder", a, b, gradients, saves=False, passes_on=True)
