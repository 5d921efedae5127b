"""SiLU, also called swish: x times its own sigmoid (``kernels/silu.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._in_place import rewrite
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.cpu.activations import logistic, part_by_part, scratch
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("silu.cu", **DECLARED)


@primitive(returns=("y",))
def silu_forward(xp: Any, x: Any) -> Any:
    """y = x / (1 + exp(-x))."""
    with quiet():
        return x / (1 + xp.exp(-x))


@silu_forward.numpy
def _(x: np.ndarray) -> np.ndarray:
    def work(y: np.ndarray, x: np.ndarray) -> None:
        np.negative(x, out=y)
        np.exp(y, out=y)
        y += 1
        np.divide(x, y, out=y)

    return part_by_part(work, x)


@silu_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "silu_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def silu_backward(xp: Any, dy: Any, x: Any) -> Any:
    """dx = dy s (1 + x (1 - s)) with s = 1 / (1 + exp(-x)); y alone does not determine x where it falls."""
    with quiet():
        s = 1 / (1 + xp.exp(-x))
        return dy * s * (1 + x * (1 - s))


@silu_backward.numpy
def _(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, x: np.ndarray) -> None:
        s = scratch(x)
        logistic(s, x)
        np.subtract(1, s, out=dx)
        dx *= x
        dx += 1
        dx *= s
        dx *= dy

    return part_by_part(work, dy, x)


@silu_backward.kernel(stored=("dy", "x"))
def _(device: Device, dy: Any, x: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "silu_backward", device, (dx, dy, x))
    return dx


def silu(x: Tensor, inplace: bool = False) -> Tensor:
    """x / (1 + exp(-x)), element by element: x times its own sigmoid.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Elfwing, Uchibe, Doya 2018, arXiv:1702.03118; lecture topic L4.
    """
    if inplace:
        return rewrite(x, "silu_", silu, give_up=True)
    check_floating("silu", x)
    device, source = x.device, x._physical
    y = silu_forward(device, source)
    return record("silu", y, device, (x,), lambda dy, needs: (silu_backward(device, dy, source),), saves=(x,))
