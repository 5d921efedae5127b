"""Exponential linear unit (``kernels/elu.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._in_place import rewrite
from gpunn._shared.activations import check_floating, number
from gpunn._tensor import Tensor
from gpunn.cpu.activations import one_unless, part_by_part, scratch
from gpunn.cpu.elementwise import quiet, row_of
from gpunn.errors import UsageError, here
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("elu.cu", **DECLARED)


@primitive(returns=("y",))
def elu_forward(xp: Any, x: Any, alpha: float) -> Any:
    """y = x where x > 0, else alpha (exp(x) - 1)."""
    with quiet():
        return xp.where(x > 0, x, x.dtype.type(alpha) * xp.expm1(x))


@elu_forward.numpy
def _(x: np.ndarray, alpha: float) -> np.ndarray:
    def work(y: np.ndarray, x: np.ndarray) -> None:
        above = scratch(x)
        np.maximum(x, row_of(0, x), out=above)
        np.minimum(x, row_of(0, x), out=y)
        np.expm1(y, out=y)
        y *= x.dtype.type(alpha)
        y += above

    return part_by_part(work, x)


@elu_forward.kernel(stored=("x",))
def _(device: Device, x: Any, alpha: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "elu_forward", device, (y, x), alpha)
    return y


@primitive(returns=("dx",))
def elu_backward(xp: Any, dy: Any, y: Any, alpha: float) -> Any:
    """dx = dy (y + alpha) where y <= 0, which is dy alpha exp(x), else dy; alpha >= 0."""
    with quiet():
        return xp.where(y <= 0, dy * (y + y.dtype.type(alpha)), dy)


@elu_backward.numpy
def _(dy: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
        np.add(y, y.dtype.type(alpha), out=dx)
        one_unless(y <= 0, dx)
        dx *= dy

    return part_by_part(work, dy, y)


@elu_backward.kernel(stored=("dy", "y"))
def _(device: Device, dy: Any, y: Any, alpha: float) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "elu_backward", device, (dx, dy, y), alpha)
    return dx


def elu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else ``alpha`` (exp(x) - 1).

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    alpha : float
        At least 0; far below 0 the output is -alpha.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient at 0 is alpha; NaN stays NaN, with gradient 1.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If alpha is negative or not a finite number.

    References
    ----------
    Clevert, Unterthiner, Hochreiter 2016, arXiv:1511.07289; lecture topic L4.
    """
    if inplace:
        return rewrite(x, "elu_", lambda old: elu(old, alpha), give_up=True)
    check_floating("elu", x)
    alpha = number("elu", "alpha", alpha)
    if alpha < 0:  # the sign of y would no longer show the sign of x
        raise UsageError(f"{here('elu')}: alpha: expected a number of at least 0; got {alpha}.")
    device = x.device
    y = elu_forward(device, x._physical, alpha)
    return record("elu", y, device, (x,), lambda dy, needs: (elu_backward(device, dy, y, alpha),), keeps=True)
