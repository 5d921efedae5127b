"""Clipping to an interval, and ReLU6, the clipped ReLU (``kernels/hardtanh.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._in_place import rewrite
from gpunn._shared.activations import check_floating
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part
from gpunn.cpu.elementwise import row_of
from gpunn.cpu.masking import keep_where
from gpunn.errors import UsageError, here
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("hardtanh.cu", **DECLARED)


@primitive(returns=("y",))
def hardtanh_forward(xp: Any, x: Any, low: float, high: float) -> Any:
    """y = min(max(x, low), high), NaN kept."""
    return xp.minimum(xp.maximum(x, x.dtype.type(low)), x.dtype.type(high))


@hardtanh_forward.numpy
def _(x: np.ndarray, low: float, high: float) -> np.ndarray:
    def work(y: np.ndarray, x: np.ndarray) -> None:
        np.maximum(x, row_of(low, x), out=y)
        np.minimum(y, row_of(high, x), out=y)

    return part_by_part(work, x)


@hardtanh_forward.kernel(stored=("x",))
def _(device: Device, x: Any, low: float, high: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "hardtanh_forward", device, (y, x), low, high)
    return y


@primitive(returns=("dx",))
def hardtanh_backward(xp: Any, dy: Any, y: Any, low: float, high: float) -> Any:
    """dx = 0 where y is one of the limits, else dy (at x = low and x = high it is 0, as in PyTorch)."""
    return xp.where((y <= y.dtype.type(low)) | (y >= y.dtype.type(high)), dy.dtype.type(0), dy)


@hardtanh_backward.numpy
def _(dy: np.ndarray, y: np.ndarray, low: float, high: float) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
        closed = y <= y.dtype.type(low)
        closed |= y >= y.dtype.type(high)
        keep_where(np.logical_not(closed, out=closed), dy, dx)

    return part_by_part(work, dy, y)


@hardtanh_backward.kernel(stored=("dy", "y"))
def _(device: Device, dy: Any, y: Any, low: float, high: float) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "hardtanh_backward", device, (dx, dy, y), low, high)
    return dx


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x clipped to between ``min_val`` and ``max_val``.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    min_val, max_val : float
        The limits.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient at the limits and beyond is 0; NaN stays NaN.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If the limits are not finite, or the lower one is above the upper.

    References
    ----------
    Collobert 2004, "Large scale machine learning"; lecture topic L4.
    """
    if inplace:
        return rewrite(x, "hardtanh_", lambda old: hardtanh(old, min_val, max_val), give_up=True)
    return _clipped("hardtanh", x, min_val, max_val)


def relu6(x: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6), element by element.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient at 0 and at 6 is 0.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10"; lecture topic L4.
    """
    if inplace:
        return rewrite(x, "relu6_", relu6, give_up=True)
    return _clipped("relu6", x, 0.0, 6.0)


def _clipped(op: str, x: Tensor, min_val: float, max_val: float) -> Tensor:
    check_floating(op, x)
    low, high = (
        v if type(v) is float and v == v else real_number(op, name, v, finite=False)
        for name, v in (("min_val", min_val), ("max_val", max_val))
    )
    if low > high:
        raise UsageError(f"{here(op)}: expected min_val to be at most max_val; got {low} and {high}.")
    device = x.device
    y = hardtanh_forward(device, x._physical, low, high)
    return record(op, y, device, (x,), lambda dy, needs: (hardtanh_backward(device, dy, y, low, high),), keeps=True)
