"""The step function of the perceptron (``kernels/step.cu``)."""

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

SOURCE = KernelSource("step.cu", **DECLARED)


@primitive(returns=("y",))
def step_forward(xp: Any, x: Any, strict: bool) -> Any:
    """y = 1 where x >= 0 (x > 0 if strict), else 0; NaN kept."""
    return xp.where(x != x, x, (x > 0 if strict else x >= 0).astype(x.dtype))


@step_forward.numpy
def _(x: np.ndarray, strict: bool) -> np.ndarray:
    def work(y: np.ndarray, x: np.ndarray) -> None:
        y[...] = x > 0 if strict else x >= 0
        lost = x != x
        if lost.any():
            y[lost] = np.nan

    return part_by_part(work, x)


@step_forward.kernel(stored=("x",))
def _(device: Device, x: Any, strict: bool) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "step_forward", device, (y, x), int(strict))
    return y


def step(x: Tensor, strict: bool = False) -> Tensor:
    """1 where x >= 0, else 0: the perceptron's activation. It has no gradient.

    The slope is 0 on both sides of the step and undefined at it, so nothing could be learned through it:
    the output never requires a gradient, even if x does, and ``backward`` from it raises GraphError.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    strict : bool
        1 only where x > 0.

    Returns
    -------
    Tensor
        Like x, without a gradient. NaN stays NaN.

    Raises
    ------
    DTypeError
        If x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> step(x).tolist(), step(x, strict=True).tolist()
    ([0.0, 1.0, 1.0], [0.0, 0.0, 1.0])
    >>> step(x).requires_grad
    False

    References
    ----------
    Rosenblatt 1958, "The perceptron"; lecture topic L4.
    """
    check_floating("step", x)
    return Tensor._of_physical(step_forward(x.device, x._physical, bool(strict)), x.device)
