"""The larger or smaller of two tensors, element by element (``kernels/pair_backward.cu``)."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.gpu.broadcast import launch_pair_backward
from gpunn.ops.binary import binary
from gpunn.primitive import primitive

# -- two tensors ----------------------------------------------------------------------------------


@primitive(returns=("da", "db"))
def pair_backward(xp: Any, dy: Any, a: Any, b: Any, largest: bool, bounds: bool = False) -> tuple[Any, Any]:
    """dy goes to the one that won, half to each where they are equal, and to both where one is NaN.

    With ``bounds`` b is a's bound, as in PyTorch's clamp: of equal ones a gets dy, and where one is NaN neither does.
    """
    number = dy.dtype.type
    if bounds:
        kept, beyond = (a >= b, a < b) if largest else (a <= b, a > b)
        return xp.where(kept, dy, number(0)), xp.where(beyond, dy, number(0))
    half = xp.where(a == b, dy * number(0.5), dy)
    lost = (a < b, b < a) if largest else (b < a, a < b)
    return xp.where(lost[0], number(0), half), xp.where(lost[1], number(0), half)


@pair_backward.kernel
def _(device: Device, dy: Any, a: Any, b: Any, largest: bool, bounds: bool = False) -> tuple[Any, Any]:
    return launch_pair_backward(device, dy, a, b, largest, bounds)


def _of_two(op: str, a: Any, b: Any, bounds: bool = False) -> Tensor:
    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        found: tuple[Any, Any] = pair_backward(device, dy, pa, pb, op == "maximum", bounds)
        return found

    return binary(op, a, b, gradients, ("ab", "ab"))


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element; NaN if one is. Ties share the gradient.

    Parameters
    ----------
    a, b : Tensor or number
        One device and dtype, shapes that broadcast.
    """
    return _of_two("maximum", a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; NaN if one is. Ties share the gradient.

    Parameters
    ----------
    a, b : Tensor or number
        One device and dtype, shapes that broadcast.
    """
    return _of_two("minimum", a, b)


def at_least(x: Tensor, bound: Any) -> Tensor:
    """x, or the bound where x is below it; x gets the gradient where they are equal, and neither does at NaN."""
    return _of_two("maximum", x, bound, bounds=True)


def at_most(x: Tensor, bound: Any) -> Tensor:
    """x, or the bound where x is above it; gradients as in :func:`at_least`."""
    return _of_two("minimum", x, bound, bounds=True)
