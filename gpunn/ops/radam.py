"""RAdam's update of all parameters at once (``kernels/radam.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.ops.adam import moments
from gpunn.primitive import primitive

SOURCE = KernelSource("radam.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "means", "squares"))
def radam_step(
    xp: Any, params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any
) -> None:
    """p *= keep;  d = sign*g + decay*p;  m, v as in Adam;  p -= size * m [/ (sqrt(v) + eps) if rectified].

    Parameters
    ----------
    params, grads, means, squares : lists of arrays
        One dtype, C-contiguous.
    scalars : array (9,)
        size, of lr, t and betas; eps; rectified, 1 or 0; 1 - beta1, beta2, 1 - beta2, decay (into the gradient), keep
        (1 - lr decay, where that is decoupled), sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    size, eps, rectified, take, beta2, take2, decay, keep, sign = (s for s in scalars)
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        p *= keep
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        m += take * (d - m)
        v[...] = beta2 * v + take2 * (d * d)
        p -= size * (m / (xp.sqrt(v) + eps) if rectified else m)


@radam_step.numpy
def _(params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any) -> None:
    if error[0]:
        return
    size, eps, rectified, take, beta2, take2, decay, keep, sign = scalars.tolist()

    def update(i: int, p: Any, g: Any, m: Any, v: Any) -> None:
        room, step = scratch(p, 2)
        if keep != 1:
            p *= keep
        d = working_gradient(p, g, decay, sign, room)
        moments(d, m, v, take, beta2, take2, step)
        if rectified:
            np.sqrt(v, out=step)
            step += eps
            np.divide(m, step, out=step)
            step *= size
        else:
            np.multiply(m, size, out=step)
        p -= step

    on_blocks(update, params, grads, means, squares)


@radam_step.kernel(stored=("params", "grads", "means", "squares"))
def _(
    device: Device, params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any
) -> None:
    columns = {"params": params, "grads": grads, "means": means, "squares": squares}
    launch_rule(device, SOURCE, "radam_step", scalars, error, **columns)
