"""Division with broadcasting: true, floored, and its remainder."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.accumulate import scale
from gpunn.ops.binary import binary, broadcast_binary


def div(a: Any, b: Any) -> Tensor:
    """a / b with broadcasting; ``a`` and ``b`` as in :func:`add`. Integers give float32."""

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "div", dy, pb)
        if not needs[1]:
            return da, None
        return da, scale(device, broadcast_binary(device, "mul", da, y), -1.0)

    return binary("div", a, b, gradients, divides=True)


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
