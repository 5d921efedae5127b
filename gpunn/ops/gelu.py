"""Gaussian error linear unit (``kernels/gelu.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part, scratch
from gpunn.cpu.elementwise import quiet, row_of
from gpunn.errors import UsageError, here
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.ops.erf import erf_array
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("gelu.cu", **DECLARED)
_CUBE = 0.044715
_SCALE = math.sqrt(2 / math.pi)
_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)
# For float32 on the CPU: P(-a) = exp(-a^2 / 2) (c1 t + c2 t^2 + ...) with t = 1 / (1 + 0.31 a), the form of Abramowitz
# and Stegun's 7.1.26 with more terms. Fitted by reweighted least squares for 0 <= a <= 16 so that P(0) = 1/2 to the
# last digit of float32; elsewhere the relative error is at most 1.9e-7.
_TAIL_POLE = 0.31
_TAIL = (
    *(0.1236571642, 0.1240513739, 0.1078589138, 0.1097168634),
    *(-0.0139701127, 0.1538547855, -0.1407893363, 0.0356203481),
)


@primitive(returns=("y",))
def gelu_forward(xp: Any, x: Any, by_tanh: bool) -> Any:
    """y = x P(x), P the normal distribution: (1 + erf(x / sqrt 2)) / 2.

    ``by_tanh`` replaces that erf by tanh(sqrt(2 / pi) (x + 0.044715 x^3)).
    """
    number = x.dtype.type
    with quiet():
        if by_tanh:
            return x * (number(0.5) * (1 + xp.tanh(number(_SCALE) * (x + number(_CUBE) * x * x * x))))
        return number(0.5) * x * (1 + erf_array(xp, x * number(_ROOT_HALF)))


@gelu_forward.numpy
def _(x: np.ndarray, by_tanh: bool) -> np.ndarray:
    def exactly(y: np.ndarray, x: np.ndarray) -> None:
        _normal(y, scratch(x), x)
        y *= x

    def approximately(y: np.ndarray, x: np.ndarray) -> None:
        _tanh(y, x)
        y += 1
        y *= x.dtype.type(0.5)
        y *= x

    return part_by_part(approximately if by_tanh else exactly, x)


def _normal(share: np.ndarray, bell: np.ndarray, x: np.ndarray) -> None:
    """share = P(x), bell = exp(-x^2 / 2)."""
    number = x.dtype.type
    np.multiply(x, x, out=bell)
    bell *= number(-0.5)
    np.exp(bell, out=bell)
    if x.dtype != np.float32:
        np.multiply(x, number(_ROOT_HALF), out=share)
        share[...] = erf_array(np, share)
        share += 1
        share *= number(0.5)
        return
    t = scratch(x, "t")
    np.abs(x, out=t)
    t *= number(_TAIL_POLE)
    t += 1
    np.divide(row_of(1, t), t, out=t)  # takes half as long as ``reciprocal``
    np.multiply(t, number(_TAIL[-1]), out=share)
    for c in reversed(_TAIL[:-1]):
        share += number(c)
        share *= t
    share *= bell
    np.subtract(x >= 0, share, out=share)  # 1 - P(-x), or minus P(x)
    np.abs(share, out=share)


def _tanh(out: np.ndarray, x: np.ndarray) -> None:
    """out = tanh(sqrt(2 / pi) (x + 0.044715 x^3))."""
    np.multiply(x, x, out=out)
    out *= x.dtype.type(_SCALE * _CUBE)
    out += x.dtype.type(_SCALE)
    out *= x
    np.tanh(out, out=out)


@gelu_forward.kernel(stored=("x",))
def _(device: Device, x: Any, by_tanh: bool) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "gelu_tanh_forward" if by_tanh else "gelu_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def gelu_backward(xp: Any, dy: Any, x: Any, by_tanh: bool, y: Any = None) -> Any:
    """dx = dy (P(x) + x p(x)), p the derivative of P: exp(-x^2 / 2) / sqrt(2 pi), or that of the tanh.

    y, if it is given, is the output, from which the CPU finds P(x) by the error function.
    """
    number = x.dtype.type
    with quiet():
        if by_tanh:
            t = xp.tanh(number(_SCALE) * (x + number(_CUBE) * x * x * x))
            slope = number(_SCALE) * (1 + number(3 * _CUBE) * x * x)
            return dy * number(0.5) * (1 + t + x * (1 - t * t) * slope)
        share = number(0.5) * (1 + erf_array(xp, x * number(_ROOT_HALF)))
        return dy * (share + x * number(_DENSITY) * xp.exp(number(-0.5) * x * x))


@gelu_backward.numpy
def _(dy: np.ndarray, x: np.ndarray, by_tanh: bool, y: np.ndarray | None = None) -> np.ndarray:
    number = x.dtype.type

    def exactly(dx: np.ndarray, dy: np.ndarray, x: np.ndarray, *y: np.ndarray) -> None:
        share = scratch(x)
        if y:
            np.multiply(x, x, out=dx)
            _share(share, x, y[0], dx)
            dx *= number(-0.5)
            np.exp(dx, out=dx)
        else:
            _normal(share, dx, x)
        dx *= number(_DENSITY)
        dx *= x
        dx += share
        dx *= dy

    def approximately(dx: np.ndarray, dy: np.ndarray, x: np.ndarray) -> None:
        t = scratch(x)
        _tanh(t, x)
        slope = scratch(x, "slope")
        np.multiply(x, x, out=slope)
        slope *= number(3 * _CUBE * _SCALE)
        slope += number(_SCALE)
        np.multiply(t, t, out=dx)
        np.subtract(1, dx, out=dx)
        dx *= x
        dx *= slope
        dx += t
        dx += 1
        dx *= number(0.5)
        dx *= dy

    return part_by_part(approximately if by_tanh else exactly, dy, x, *(() if y is None or by_tanh else (y,)))


def _share(share: np.ndarray, x: np.ndarray, y: np.ndarray, square: np.ndarray) -> None:
    """share = P(x) = y / x, and 1/2 where x^2 is 0."""
    np.divide(y, x, out=share)
    if share.size and not square.min() > 0:
        share[square == 0] = 0.5


@gelu_backward.kernel(stored=("dy", "x"))
def _(device: Device, dy: Any, x: Any, by_tanh: bool, y: Any = None) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "gelu_tanh_backward" if by_tanh else "gelu_backward", device, (dx, dy, x))
    return dx


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the probability that a normally distributed number is below x.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    approximate : str
        "none": the error function. "tanh": x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), up to 5e-4 off.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If ``approximate`` is neither.

    References
    ----------
    Hendrycks, Gimpel 2016, arXiv:1606.08415; lecture topic L4.
    """
    check_floating("gelu", x)
    if approximate not in ("none", "tanh"):
        raise UsageError(f"{here('gelu')}: approximate: expected 'none' or 'tanh'; got {approximate!r}.")
    device, source, by_tanh = x.device, x._physical, approximate == "tanh"
    y = gelu_forward(device, source, by_tanh)
    kept = y if device.name == "cpu" and not by_tanh else None

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        # The output need not stay as it is; but where it has, it is there anyway, for the layer behind.
        known = () if kept is None or storage.count else (kept,)
        return (gelu_backward(device, dy, source, by_tanh, *known),)

    result = record("gelu", y, device, (x,), backward, saves=(x,))
    storage = result._storage
    return result
