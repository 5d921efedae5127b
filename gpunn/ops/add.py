"""Addition and subtraction with broadcasting."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._promotion import category
from gpunn._rows import operand, together
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, here
from gpunn.ops.accumulate import add_same_shape, scale
from gpunn.ops.binary import binary, operands
from gpunn.ops.mul import mul
from gpunn.tape import record


def add(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a + alpha * b with broadcasting.

    Parameters
    ----------
    a, b : Tensor or number
        One device, shapes that broadcast. The result has the dtype that holds both, as in PyTorch: float64 for
        float32 and float64, the floating one for it and integers. A tensor without axes, or a number, changes the
        dtype only by a higher category: bool, integer, floating.
    alpha : number
        Factor on b; an integer for integers.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they are incompatible.
    """
    a, b = operands("add", a, b)
    if alpha != 1:
        b = _times("add", b, alpha)
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype.kind in FLOATING:
        rows = together(a, b)
        left, right = (operand(a), operand(b)) if rows else (a._physical, b._physical)
        y = add_same_shape(a.device, left, right)
        return record("add", y, a.device, (a, b), lambda dy, needs: (dy, dy), passes_on=True, rows=rows)
    return binary("add", a, b, lambda device, dy, pa, pb, y, needs: (dy, dy), passes_on=True)


def sub(a: Any, b: Any, *, alpha: float = 1) -> Tensor:
    """a - alpha * b with broadcasting; ``a``, ``b`` and ``alpha`` as in :func:`add`. Not for bools."""
    if alpha != 1:
        a, b = operands("sub", a, b)
        b = _times("sub", b, alpha)

    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        return dy, scale(device, dy, -1.0) if needs[1] else None

    return binary("sub", a, b, gradients, passes_on=True)


def _times(op: str, b: Any, alpha: Any) -> Any:
    """alpha * b, in b's dtype."""
    alpha = alpha.item() if isinstance(alpha, Tensor) else alpha
    kind = category(alpha)
    if kind is None or (kind == 2 and b.dtype.kind not in FLOATING) or (kind == 0 and b.dtype.kind != "b"):
        raise DTypeError(
            f"{here(op)}: alpha: expected a number of the operands' dtype, {b.dtype}; got {alpha!r}. "
            "Convert the operands with .float()."
        )
    return mul(b, alpha).to(b.dtype) if isinstance(b, Tensor) else b.dtype.type(b * alpha)
