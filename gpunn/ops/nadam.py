"""NAdam's update of all parameters at once (``kernels/nadam.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.ops.adam import moments
from gpunn.primitive import primitive

SOURCE = KernelSource("nadam.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "means", "squares"))
def nadam_step(
    xp: Any, params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any
) -> None:
    """p *= keep;  d = sign*g + decay*p;  m, v as in Adam;  p -= (now*d + ahead*m) / (sqrt(v) + eps).

    Parameters
    ----------
    params, grads, means, squares : lists of arrays
        One dtype, C-contiguous.
    scalars : array (9,)
        now = lr root (1 - mu_t) / (1 - mu_1 ... mu_t), ahead = lr root mu_{t+1} / (1 - mu_1 ... mu_{t+1}), eps root,
        with root = sqrt(1 - beta2^t); 1 - beta1, beta2, 1 - beta2, decay (into the gradient), keep (1 - lr decay,
        where that is decoupled), sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    now, ahead, eps, take, beta2, take2, decay, keep, sign = (s for s in scalars)
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        p *= keep
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        m += take * (d - m)
        v[...] = beta2 * v + take2 * (d * d)
        p -= (now * d + ahead * m) / (xp.sqrt(v) + eps)


@nadam_step.numpy
def _(params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any) -> None:
    if error[0]:
        return
    now, ahead, eps, take, beta2, take2, decay, keep, sign = scalars.tolist()

    def update(i: int, p: Any, g: Any, m: Any, v: Any) -> None:
        room, other = scratch(p, 2)
        if keep != 1:
            p *= keep
        d = working_gradient(p, g, decay, sign, room)
        moments(d, m, v, take, beta2, take2, other)
        step = np.multiply(d, now, out=room)
        step += np.multiply(m, ahead, out=other)
        np.sqrt(v, out=other)
        other += eps
        step /= other
        p -= step

    on_blocks(update, params, grads, means, squares)


@nadam_step.kernel(stored=("params", "grads", "means", "squares"))
def _(
    device: Device, params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any
) -> None:
    columns = {"params": params, "grads": grads, "means": means, "squares": squares}
    launch_rule(device, SOURCE, "nadam_step", scalars, error, **columns)
