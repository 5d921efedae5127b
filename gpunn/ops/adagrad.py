"""Adagrad's update of all parameters at once (``kernels/adagrad.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.primitive import primitive

SOURCE = KernelSource("adagrad.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "sums"))
def adagrad_step(xp: Any, params: list[Any], grads: list[Any], sums: list[Any], scalars: Any, error: Any) -> None:
    """d = sign*g + decay*p;  s += d*d;  p -= size * d / (sqrt(s) + eps).

    Parameters
    ----------
    params, grads, sums : lists of arrays
        One dtype, C-contiguous.
    scalars : array (4,)
        size = lr / (1 + (t - 1) lr_decay), eps, weight decay, sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    size, eps, decay, sign = (s for s in scalars)
    for p, g, total in zip(params, grads, sums, strict=True):
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        total += d * d
        p -= size * (d / (xp.sqrt(total) + eps))


@adagrad_step.numpy
def _(params: list[Any], grads: list[Any], sums: list[Any], scalars: Any, error: Any) -> None:
    if error[0]:
        return
    size, eps, decay, sign = scalars

    def update(i: int, p: Any, g: Any, total: Any) -> None:
        room, step = scratch(p, 2)
        d = working_gradient(p, g, decay, sign, room)
        total += np.multiply(d, d, out=step)
        np.sqrt(total, out=step)
        step += eps
        np.divide(d, step, out=step)
        step *= size
        p -= step

    on_blocks(update, params, grads, sums)


@adagrad_step.kernel(stored=("params", "grads", "sums"))
def _(device: Device, params: list[Any], grads: list[Any], sums: list[Any], scalars: Any, error: Any) -> None:
    launch_rule(device, SOURCE, "adagrad_step", scalars, error, params=params, grads=grads, sums=sums)
