"""Powers: x ** p with a number or a tensor on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._promotion import category
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part
from gpunn.cpu.elementwise import quiet
from gpunn.errors import BadData, DTypeError, UsageError, here
from gpunn.gpu.broadcast import launch_power_backward
from gpunn.ops import unary
from gpunn.ops.binary import FEW_FACTORS, binary, operands
from gpunn.ops.cast import cast
from gpunn.ops.clone import clone
from gpunn.ops.take_at import valid_index
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
            dbase = xp.where(
                xp.asarray(exponent == 0), number(0), dy * (exponent * xp.power(base, exponent - number(1)))
            )
        if needs[1]:
            flat = xp.asarray((base == 0) & (exponent >= 0))
            dexponent = xp.where(flat, number(0), dy * y * xp.log(xp.asarray(base)))
        return dbase, dexponent


@power_backward.numpy
def _(
    dy: np.ndarray, base: np.ndarray, exponent: Any, y: np.ndarray, needs: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if needs[1] or exponent.shape or exponent not in FEW_FACTORS or base.shape != dy.shape:
        found: tuple[np.ndarray | None, np.ndarray | None] = power_backward.plain(np, dy, base, exponent, y, needs)
        return found

    def work(dx: np.ndarray, dy: np.ndarray, base: np.ndarray) -> None:
        np.multiply(base, base, out=dx)
        if exponent == 4:
            dx *= base
        dx *= exponent
        dx *= dy

    return part_by_part(work, dy, base), None


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
        If both are integers and an exponent is negative, which has no integer result. Where kernels run, exponents in
        a tensor are reported when the host next reads something.
    DTypeError, DeviceError, ShapeError
        If they are incompatible, or both bools.
    """
    if casting.on:
        base, exponent = casting.inputs("pow_", base, exponent)
    if isinstance(base, Tensor) and isinstance(exponent, int | float | np.number) and base.dtype.kind in FLOATING:
        shortcut = _SHORTCUTS.get(float(exponent))
        if shortcut is not None:
            return shortcut(base)
    if isinstance(base, Tensor) and base.dtype.kind not in FLOATING and category(exponent) == 1 and exponent < 0:
        raise UsageError(f"{here('pow')}: integers have no negative powers; convert the base with .float().")
    base, exponent = operands("pow", base, exponent)
    if base.dtype.kind == "b":
        raise DTypeError(f"{here('pow')}: expected numbers; got bools. Convert with .int() or .float().")
    if base.dtype.kind == "i" and isinstance(exponent, Tensor):
        _refuse_negative(exponent)
    return binary("pow", base, exponent, _gradients, ("ab", "aby"))


def _refuse_negative(exponent: Tensor) -> None:
    """Raise if there is one. Where kernels run, which nobody should wait for, it is reported as bad data."""
    place = here("pow")
    device, array = exponent.device, exponent._physical
    if device.loader is not None:
        places = array if array.dtype.name in ("int32", "int64") else cast(device, array, np.dtype(np.int64))
        valid_index(device, places, np.iinfo(np.int64).max, False, BadData(place, UsageError, _negative))
    elif bool((array < 0).any()):
        raise UsageError(_negative(place, int((array.reshape(-1) < 0).argmax())))


def _negative(place: str, index: int) -> str:
    return (
        f"{place}: integers have no negative powers; the exponent at position {index} is negative. Convert the base "
        "with .float()."
    )
