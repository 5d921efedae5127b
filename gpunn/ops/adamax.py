"""Adamax's update of all parameters at once (``kernels/adamax.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.blas import axpby
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.primitive import primitive

SOURCE = KernelSource("adamax.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "means", "largest"))
def adamax_step(
    xp: Any, params: list[Any], grads: list[Any], means: list[Any], largest: list[Any], scalars: Any, error: Any
) -> None:
    """d = sign*g + decay*p;  m += (1-beta1)*(d-m);  u = max(beta2*u, |d| + eps);  p -= size * m / u.

    Parameters
    ----------
    params, grads, means, largest : lists of arrays
        One dtype, C-contiguous.
    scalars : array (6,)
        size = lr / (1 - beta1^t), 1 - beta1, beta2, eps, weight decay, sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    size, take, beta2, eps, decay, sign = (s for s in scalars)
    for p, g, m, u in zip(params, grads, means, largest, strict=True):
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        m += take * (d - m)
        u[...] = xp.maximum(beta2 * u, abs(d) + eps)
        p -= size * (m / u)


@adamax_step.numpy
def _(params: list[Any], grads: list[Any], means: list[Any], largest: list[Any], scalars: Any, error: Any) -> None:
    if error[0]:
        return
    size, take, beta2, eps, decay, sign = scalars.tolist()

    def update(i: int, p: Any, g: Any, m: Any, u: Any) -> None:
        room, step = scratch(p, 2)
        d = working_gradient(p, g, decay, sign, room)
        axpby(take, d, 1 - take, m, step)
        np.abs(d, out=step)
        step += eps
        u *= beta2
        np.maximum(u, step, out=u)
        np.divide(m, u, out=step)
        step *= size
        p -= step

    on_blocks(update, params, grads, means, largest)


@adamax_step.kernel(stored=("params", "grads", "means", "largest"))
def _(
    device: Device, params: list[Any], grads: list[Any], means: list[Any], largest: list[Any], scalars: Any, error: Any
) -> None:
    columns = {"params": params, "grads": grads, "means": means, "largest": largest}
    launch_rule(device, SOURCE, "adamax_step", scalars, error, **columns)
