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
def pair_backward(xp: Any, dy: Any, a: Any, b: Any, largest: bool) -> tuple[Any, Any]:
    """dy goes to the one that won, half to each where they are equal, and to both where one is NaN."""
    number = dy.dtype.type
    half = xp.where(a == b, dy * number(0.5), dy)
    lost = (a < b, b < a) if largest else (b < a, a < b)
    return xp.where(lost[0], number(0), half), xp.where(lost[1], number(0), half)


@pair_backward.kernel
def _(device: Device, dy: Any, a: Any, b: Any, largest: bool) -> tuple[Any, Any]:
    return launch_pair_backward(device, dy, a, b, largest)


def _of_two(op: str, a: Any, b: Any) -> Tensor:
    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        found: tuple[Any, Any] = pair_backward(device, dy, pa, pb, op == "maximum")
        return found

    return binary(op, a, b, gradients)


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
