"""Leaky rectified linear unit (``kernels/leaky_relu.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._in_place import rewrite
from gpunn._shared.activations import check_floating, number
from gpunn._tensor import Tensor
from gpunn.cpu.activations import open_or_slope, part_by_part
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("leaky_relu.cu", **DECLARED)


@primitive(returns=("y",))
def leaky_relu_forward(xp: Any, x: Any, slope: float) -> Any:
    """y = x where x > 0, else slope x."""
    with quiet():
        return xp.where(x > 0, x, x * x.dtype.type(slope))


@leaky_relu_forward.numpy
def _(x: np.ndarray, slope: float) -> np.ndarray:
    if slope <= 0:  # y is then no max or min of x and slope x; 0 times infinity is not 0
        return part_by_part(lambda y, x: _scaled(y, x, x, slope), x)
    choose = np.maximum if slope <= 1 else np.minimum

    def work(y: np.ndarray, x: np.ndarray) -> None:
        np.multiply(x, x.dtype.type(slope), out=y)
        choose(y, x, out=y)

    return part_by_part(work, x)


def _scaled(out: np.ndarray, values: np.ndarray, signs: np.ndarray, slope: float) -> None:
    open_or_slope(signs > 0, slope, out)
    out *= values


@leaky_relu_forward.kernel(stored=("x",))
def _(device: Device, x: Any, slope: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "leaky_relu_forward", device, (y, x), slope)
    return y


@primitive(returns=("dx",))
def leaky_relu_backward(xp: Any, dy: Any, signs: Any, slope: float) -> Any:
    """dx = dy where signs > 0, else slope dy (at 0 the gradient is the slope, as in PyTorch).

    ``signs`` is x, or y where the slope is not negative: then both are positive at the same positions.
    """
    return xp.where(signs > 0, dy, dy * dy.dtype.type(slope))


@leaky_relu_backward.numpy
def _(dy: np.ndarray, signs: np.ndarray, slope: float) -> np.ndarray:
    return part_by_part(lambda dx, dy, signs: _scaled(dx, dy, signs, slope), dy, signs)


@leaky_relu_backward.kernel(stored=("dy", "signs"))
def _(device: Device, dy: Any, signs: Any, slope: float) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "leaky_relu_backward", device, (dx, dy, signs), slope)
    return dx


def leaky_relu(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else ``negative_slope`` times x.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    negative_slope : float
        The lectures' alpha, often 0.01 or 0.1.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient at 0 is the slope.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If the slope is not a finite number.

    Examples
    --------
    >>> import gpunn
    >>> leaky_relu(gpunn.tensor([-2.0, 0.0, 3.0]), 0.5).tolist()
    [-1.0, 0.0, 3.0]

    References
    ----------
    Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models"; lecture topic L4.
    """
    if inplace:
        return rewrite(x, "leaky_relu_", lambda old: leaky_relu(old, negative_slope), give_up=True)
    check_floating("leaky_relu", x)
    slope = number("leaky_relu", "negative_slope", negative_slope)
    device, source = x.device, x._physical
    y = leaky_relu_forward(device, source, slope)
    by_output = slope >= 0
    signs = y if by_output else source

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (leaky_relu_backward(device, dy, signs, slope),)

    return record("leaky_relu", y, device, (x,), backward, saves=() if by_output else (x,), keeps=by_output)
