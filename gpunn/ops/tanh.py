"""The hyperbolic tangent (``kernels/tanh.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("tanh.cu", **DECLARED)


@primitive(returns=("y",))
def tanh_forward(xp: Any, x: Any) -> Any:
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return xp.tanh(x)


@tanh_forward.numpy
def _(x: np.ndarray) -> np.ndarray:
    return part_by_part(lambda y, x: np.tanh(x, out=y), x)


@tanh_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "tanh_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def tanh_backward(xp: Any, dy: Any, y: Any) -> Any:
    """dx = dy (1 - y^2)."""
    return dy * (1 - y * y)


@tanh_backward.numpy
def _(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
        np.multiply(y, y, out=dx)
        np.subtract(1, dx, out=dx)
        dx *= dy

    return part_by_part(work, dy, y)


@tanh_backward.kernel(stored=("dy", "y"))
def _(device: Device, dy: Any, y: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "tanh_backward", device, (dx, dy, y))
    return dx


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, element by element: between -1 and 1, 0 at 0.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.

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
    Lecture topic L4.
    """
    check_floating("tanh", x)
    device = x.device
    y = tanh_forward(device, x._physical)
    return record("tanh", y, device, (x,), lambda dy, needs: (tanh_backward(device, dy, y),), keeps=True)
