"""Multiplication with broadcasting, and by a number."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._rows import stored
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, here
from gpunn.ops.accumulate import scale
from gpunn.ops.binary import binary, broadcast_binary, operands
from gpunn.tape import record


def mul(a: Any, b: Any) -> Tensor:
    """a * b with broadcasting; ``a`` and ``b`` as in :func:`add`."""
    a, b = operands("mul", a, b)
    x, factor = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(factor, Tensor) and x.dtype.kind in FLOATING:
        return scaled("mul", x, float(factor))

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        da = broadcast_binary(device, "mul", dy, pb) if needs[0] else None
        return da, broadcast_binary(device, "mul", dy, pa) if needs[1] else None

    return binary("mul", a, b, gradients, ("b", "a"))


def scaled(op: str, x: Tensor, factor: float) -> Tensor:
    """factor * x, of floats; ``op`` is the name on the tape."""
    device, (array, rows) = x.device, stored(x)
    y = scale(device, array, factor)
    return record(op, y, device, (x,), lambda dy, needs: (scale(device, dy, factor),), rows=rows)


def neg(x: Tensor) -> Tensor:
    """-x, element by element.

    Parameters
    ----------
    x : Tensor
        Floating or integer. Unsigned integers wrap.

    Raises
    ------
    DTypeError
        If it is bool.
    """
    if x.dtype.kind in FLOATING:
        return scaled("neg", x, -1.0)
    if x.dtype.kind == "b":
        raise DTypeError(f"{here('neg')}: the - of a bool is not defined. The opposite is ~x, or x.logical_not().")
    return binary("sub", 0, x, None)
