"""The logistic sigmoid (``kernels/sigmoid.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.cpu.activations import logistic, part_by_part
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("sigmoid.cu", **DECLARED)


@primitive(returns=("y",))
def sigmoid_forward(xp: Any, x: Any) -> Any:
    """y = 1 / (1 + exp(-x)); exp overflows to infinity far below 0, which gives 0."""
    with quiet():
        return 1 / (1 + xp.exp(-x))


@sigmoid_forward.numpy
def _(x: np.ndarray) -> np.ndarray:
    return part_by_part(logistic, x)


@sigmoid_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "sigmoid_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def sigmoid_backward(xp: Any, dy: Any, y: Any) -> Any:
    """dx = dy y (1 - y)."""
    return dy * y * (1 - y)


@sigmoid_backward.numpy
def _(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
        np.subtract(1, y, out=dx)
        dx *= y
        dx *= dy

    return part_by_part(work, dy, y)


@sigmoid_backward.kernel(stored=("dy", "y"))
def _(device: Device, dy: Any, y: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "sigmoid_backward", device, (dx, dy, y))
    return dx


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), element by element: between 0 and 1, 1/2 at 0.

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

    Examples
    --------
    >>> import gpunn
    >>> sigmoid(gpunn.tensor([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]

    References
    ----------
    Lecture topic L4.
    """
    check_floating("sigmoid", x)
    device = x.device
    y = sigmoid_forward(device, x._physical)
    return record("sigmoid", y, device, (x,), lambda dy, needs: (sigmoid_backward(device, dy, y),), keeps=True)
