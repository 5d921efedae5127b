"""Softplus, the smooth rectifier (``kernels/softplus.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.activations import check_floating, number
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part, scratch
from gpunn.cpu.elementwise import quiet, row_of
from gpunn.cpu.masking import keep_where
from gpunn.errors import UsageError, here
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("softplus.cu", **DECLARED)


@primitive(returns=("y",))
def softplus_forward(xp: Any, x: Any, beta: float, threshold: float) -> Any:
    """y = log(1 + exp(beta x)) / beta, and x itself where beta x > threshold.

    Written as x where beta x > 0, plus log1p(exp(-|beta x|)) / beta, which cannot overflow.
    """
    b = x.dtype.type(beta)
    with quiet():
        u = x * b
        line = (xp.maximum if beta > 0 else xp.minimum)(x, x.dtype.type(0))
        return xp.where(u > x.dtype.type(threshold), x, line + xp.log1p(xp.exp(-xp.abs(u))) / b)


def _fades(dtype: np.dtype, threshold: float) -> bool:
    """Whether 1 + exp(-threshold) rounds to 1, so that beyond the threshold the formula gives x by itself."""
    return threshold > math.log(4 / np.finfo(dtype).eps)


@softplus_forward.numpy
def _(x: np.ndarray, beta: float, threshold: float) -> np.ndarray:
    if threshold < 0:  # then y = x also below 0, where the rectifier differs
        return np.asarray(softplus_forward.plain(np, x, beta, threshold))

    line = np.maximum if beta > 0 else np.minimum

    def work(y: np.ndarray, x: np.ndarray) -> None:
        u = scratch(x)
        np.multiply(x, x.dtype.type(beta), out=u)
        np.abs(u, out=y)
        np.negative(y, out=y)
        np.exp(y, out=y)
        if not _fades(x.dtype, threshold):
            keep_where(np.logical_not(u > x.dtype.type(threshold)), y, y)
        np.log1p(y, out=y)
        if beta != 1:
            y /= x.dtype.type(beta)
        line(x, row_of(0, x), out=u)
        y += u

    return part_by_part(work, x)


@softplus_forward.kernel(stored=("x",))
def _(device: Device, x: Any, beta: float, threshold: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "softplus_forward", device, (y, x), beta, threshold)
    return y


@primitive(returns=("dx",))
def softplus_backward(xp: Any, dy: Any, x: Any, beta: float, threshold: float) -> Any:
    """dx = dy / (1 + exp(-beta x)), and dy itself where beta x > threshold."""
    with quiet():
        u = x * x.dtype.type(beta)
        return xp.where(u > x.dtype.type(threshold), dy, dy / (1 + xp.exp(-u)))


@softplus_backward.numpy
def _(dy: np.ndarray, x: np.ndarray, beta: float, threshold: float) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, x: np.ndarray) -> None:
        np.multiply(x, x.dtype.type(-beta), out=dx)
        curved = None if _fades(x.dtype, threshold) else np.logical_not(dx < x.dtype.type(-threshold))
        np.exp(dx, out=dx)
        if curved is not None:
            keep_where(curved, dx, dx)
        dx += 1
        np.divide(dy, dx, out=dx)

    return part_by_part(work, dy, x)


@softplus_backward.kernel(stored=("dy", "x"))
def _(device: Device, dy: Any, x: Any, beta: float, threshold: float) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "softplus_backward", device, (dx, dy, x), beta, threshold)
    return dx


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, element by element: a smooth max(x, 0).

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    beta : float
        How sharply it bends; not 0.
    threshold : float
        Where beta x is above it, the output is x itself.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If beta is 0, or one of the two is not a finite number.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau, Garcia 2001, "Incorporating second-order functional knowledge for better
    option pricing"; lecture topic L4.
    """
    if casting.on:
        (x,) = casting.inputs("softplus", x)
    check_floating("softplus", x)
    beta, threshold = number("softplus", "beta", beta), number("softplus", "threshold", threshold)
    if beta == 0:
        raise UsageError(f"{here('softplus')}: beta: expected a number other than 0; got {beta}.")
    device, source = x.device, x._physical
    y = softplus_forward(device, source, beta, threshold)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (softplus_backward(device, dy, source, beta, threshold),)

    return record("softplus", y, device, (x,), backward, saves=(x,))
