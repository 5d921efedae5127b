"""Powers: x ** p with a number or a tensor on either side."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import UsageError, here
from gpunn.gpu.broadcast import launch_power_backward
from gpunn.ops import unary
from gpunn.ops.binary import binary
from gpunn.ops.clone import clone
from gpunn.primitive import primitive


@primitive(returns=("dbase", "dexponent"))
def power_backward(
    xp: Any, dy: Any, base: Any, exponent: Any, y: Any, needs: tuple[bool, bool]
) -> tuple[Any | None, Any | None]:
    """dbase = dy p x^(p-1), 0 where p is 0; dexponent = dy y log x, 0 where x is 0 and p is not negative."""
    number = dy.dtype.type
    with quiet():
        dbase = dexponent = None
        if needs[0]:
            dbase = xp.where(xp.asarray(exponent == 0), number(0), dy * exponent * xp.power(base, exponent - number(1)))
        if needs[1]:
            flat = xp.asarray((base == 0) & (exponent >= 0))
            dexponent = xp.where(flat, number(0), dy * y * xp.log(xp.asarray(base)))
        return dbase, dexponent


@power_backward.kernel
def _(
    device: Device, dy: Any, base: Any, exponent: Any, y: Any, needs: tuple[bool, bool]
) -> tuple[Any | None, Any | None]:
    return launch_power_backward(device, dy, base, exponent, y, needs)


def _gradients(device: Device, dy: Any, base: Any, exponent: Any, y: Any, needs: tuple[bool, bool]) -> tuple[Any, Any]:
    found: tuple[Any, Any] = power_backward(device, dy, base, exponent, y, needs)
    return found


_SHORTCUTS = {1.0: clone, 2.0: unary.square, 0.5: unary.sqrt, -0.5: unary.rsqrt, -1.0: unary.reciprocal}


def pow_(base: Any, exponent: Any) -> Tensor:
    """base ** exponent, element by element, with broadcasting.

    Parameters
    ----------
    base, exponent : Tensor or number
        At least one a Tensor. Integers stay integers if both are.

    Returns
    -------
    Tensor
        NaN where a negative base has a fractional exponent.

    Raises
    ------
    UsageError
        If both are integers and an exponent is negative, which has no integer result.
    DTypeError, DeviceError, ShapeError
        If they are incompatible.
    """
    if isinstance(base, Tensor) and isinstance(exponent, int | float) and base.dtype.kind == "f":
        shortcut = _SHORTCUTS.get(float(exponent))
        if shortcut is not None:
            return shortcut(base)
    integers = [v.dtype.kind in "iub" if isinstance(v, Tensor) else isinstance(v, int) for v in (base, exponent)]
    if all(integers):
        least = exponent if isinstance(exponent, int) else exponent._numpy_without_tape().min(initial=0)
        if least < 0:
            raise UsageError(f"{here('pow')}: integers have no negative powers; convert the base with .float().")
    return binary("pow", base, exponent, _gradients)
