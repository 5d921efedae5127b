"""Rectified linear unit (``kernels/relu.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._in_place import rewrite
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part
from gpunn.cpu.elementwise import row_of
from gpunn.cpu.masking import keep_where
from gpunn.errors import DTypeError, here
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("relu.cu", **DECLARED)


@primitive(returns=("y",))
def relu_forward(xp: Any, x: Any) -> Any:
    """y = max(x, 0), NaN kept."""
    return xp.maximum(x, x.dtype.type(0))


@relu_forward.numpy
def _(x: np.ndarray) -> np.ndarray:
    return part_by_part(lambda y, x: np.maximum(x, row_of(0, x), out=y), x)


@relu_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "relu_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def relu_backward(xp: Any, dy: Any, y: Any) -> Any:
    """dx = 0 where y <= 0, else dy (at x = 0 the gradient is 0, at NaN it is dy, as in PyTorch)."""
    return xp.where(y <= 0, dy.dtype.type(0), dy)


@relu_backward.numpy
def _(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Not is_open: callers of gpunn.arrays may give x itself, which is negative where y is 0.
    return part_by_part(lambda dx, dy, y: keep_where(~(y <= 0), dy, dx), dy, y)


@relu_backward.kernel(stored=("dy", "y"))
def _(device: Device, dy: Any, y: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "relu_backward", device, (dx, dy, y))
    return dx


def relu(x: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), element by element.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. NaN stays NaN; the gradient at 0 is 0, at NaN it passes.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines"; lecture topic L4.
    """
    if inplace:
        return rewrite(x, "relu_", relu, give_up=True)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here('relu')}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    y = relu_forward(x.device, x._physical)
    device = x.device
    return record("relu", y, device, (x,), lambda dy, needs: (relu_backward(device, dy, y),), keeps=True)
