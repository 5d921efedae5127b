"""The logarithm of the sigmoid (``kernels/logsigmoid.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.cpu.activations import part_by_part, scratch
from gpunn.cpu.elementwise import quiet, row_of
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("logsigmoid.cu", **DECLARED)


@primitive(returns=("y",))
def logsigmoid_forward(xp: Any, x: Any) -> Any:
    """y = log(1 / (1 + exp(-x))) = min(x, 0) - log1p(exp(-|x|)), which cannot overflow."""
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))


@logsigmoid_forward.numpy
def _(x: np.ndarray) -> np.ndarray:
    def work(y: np.ndarray, x: np.ndarray) -> None:
        u = scratch(x)
        np.abs(x, out=u)
        np.negative(u, out=u)
        np.exp(u, out=u)
        np.log1p(u, out=u)
        np.minimum(x, row_of(0, x), out=y)
        y -= u

    return part_by_part(work, x)


@logsigmoid_forward.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "logsigmoid_forward", device, (y, x))
    return y


@primitive(returns=("dx",))
def logsigmoid_backward(xp: Any, dy: Any, x: Any) -> Any:
    """dx = dy / (1 + exp(x)), from x: an output near 0 has lost the digits that determine x."""
    with quiet():
        return dy / (1 + xp.exp(x))


@logsigmoid_backward.numpy
def _(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    def work(dx: np.ndarray, dy: np.ndarray, x: np.ndarray) -> None:
        np.exp(x, out=dx)
        dx += 1
        np.divide(dy, dx, out=dx)

    return part_by_part(work, dy, x)


@logsigmoid_backward.kernel(stored=("dy", "x"))
def _(device: Device, dy: Any, x: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "logsigmoid_backward", device, (dx, dy, x))
    return dx


def logsigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))), element by element, exact also where the sigmoid rounds to 0.

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
    >>> logsigmoid(gpunn.tensor([-1e4, 1e4])).tolist()
    [-10000.0, 0.0]

    References
    ----------
    Lecture topic L4.
    """
    check_floating("logsigmoid", x)
    device, source = x.device, x._physical
    y = logsigmoid_forward(device, source)
    return record(
        "logsigmoid", y, device, (x,), lambda dy, needs: (logsigmoid_backward(device, dy, source),), saves=(x,)
    )
