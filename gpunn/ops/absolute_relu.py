"""Absolute-value rectification (``kernels/absolute_relu.cu``)."""

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

SOURCE = KernelSource("absolute_relu.cu", **DECLARED)


@primitive(returns=("y",))
def absolute_relu_forward(xp: Any, x: Any) -> Any:
    """y = |x|."""
    return xp.abs(x)


@absolute_relu_forward.numpy
def _(x: np.ndarray) -> np.ndarray:
    return part_by_part(lambda y, x: np.abs(x, out=y), x)


@absolute_relu_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "absolute_relu_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def absolute_relu_backward(xp: Any, dy: Any, x: Any) -> Any:
    """dx = dy where x > 0, -dy where x < 0, 0 at 0 and at NaN, as in PyTorch."""
    return dy * ((x > 0).astype(dy.dtype) - (x < 0).astype(dy.dtype))


@absolute_relu_backward.numpy
def _(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, x: np.ndarray) -> None:
        np.subtract((x > 0).view(np.int8), (x < 0).view(np.int8), out=dx, casting="unsafe")
        dx *= dy

    return part_by_part(work, dy, x)


@absolute_relu_backward.kernel(stored=("dy", "x"))
def _(device: Device, dy: Any, x: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "absolute_relu_backward", device, (dx, dy, x))
    return dx


def absolute_relu(x: Tensor) -> Tensor:
    """|x|, element by element, as an activation: a leaky ReLU of slope -1.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.

    Returns
    -------
    Tensor
        Like x. The gradient at 0 is 0.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato, LeCun 2009, "What is the best multi-stage architecture for object
    recognition?"; lecture topic L4.
    """
    check_floating("absolute_relu", x)
    device, source = x.device, x._physical
    y = absolute_relu_forward(device, source)
    return record(
        "absolute_relu", y, device, (x,), lambda dy, needs: (absolute_relu_backward(device, dy, source),), saves=(x,)
    )
