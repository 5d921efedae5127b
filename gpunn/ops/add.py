"""Addition and subtraction with broadcasting."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.ops.accumulate import add_same_shape, scale
from gpunn.ops.binary import binary, operands
from gpunn.ops.mul import mul
from gpunn.tape import record


def add(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a + alpha * b with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        One device, shapes that broadcast. Numbers and integer tensors take a floating operand's dtype;
        float32 and float64 do not mix.
    alpha : number
        Factor on b.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they are incompatible.
    """
    if alpha != 1:
        b = mul(b, alpha) if isinstance(b, Tensor) else b * alpha
    a, b = operands("add", a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype.kind == "f":
        y = add_same_shape(a.device, a._physical, b._physical)
        return record("add", y, a.device, (a, b), lambda dy, needs: (dy, dy), passes_on=True)
    return binary("add", a, b, lambda device, dy, pa, pb, y, needs: (dy, dy), saves=False, passes_on=True)


def sub(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a - alpha * b with broadcasting; ``a``, ``b`` and ``alpha`` as in :func:`add`."""
    if alpha != 1:
        b = mul(b, alpha) if isinstance(b, Tensor) else b * alpha

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        return dy, scale(device, dy, -1.0) if needs[1] else None

    return binary("sub", a, b, gradients, saves=False, passes_on=True)
