"""Powers: x ** p with a number or a tensor on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import UsageError, here
from gpunn.gpu.broadcast import launch_power_backward
from gpunn.ops import unary
from gpunn.ops.binary import binary
from gpunn.ops.clone import clone
from gpunn.primitive import primitive


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(base: Any, exponent: Any) -> dict[str, Any]:
        y = base**exponent
        return {"dy": np.ones_like(y), "base": base, "exponent": exponent, "y": y, "needs": (True, True)}

    base = (0.1 + rng.random((3, 4))).astype(np.float32)
    edges = np.array([0.0, 0.0, 2.0, -2.0, 0.0], np.float32), np.array([0.0, 2.0, 0.0, 2.0, 1.0], np.float32)
    made = [case(base, base[0].copy()), case(base, np.float32(1.5)), case(np.float32(2), base), case(*edges)]
    made += [{**case(base, base[:, :1].copy()), "needs": needs} for needs in ((True, False), (False, True))]
    odd = 0.1 + rng.random((5, 7))
    return [*made, case(odd, odd[:, :1].copy()), case(odd[:0], odd[:1].copy())]


@primitive(examples=_examples, returns=("dbase", "dexponent"))
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
        One at least a Tensor. Integers stay integers if both are.

    Returns
    -------
    Tensor
        NaN where a negative base has a broken exponent.

    Raises
    ------
    UsageError
        If both are integers and an exponent is negative, which has no integer result.
    DTypeError, DeviceError, ShapeError
        If they do not go together.
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
