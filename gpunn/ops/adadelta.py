"""Adadelta's update of all parameters at once (``kernels/adadelta.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.blas import axpby
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.primitive import primitive

SOURCE = KernelSource("adadelta.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "squares", "moved"))
def adadelta_step(
    xp: Any, params: list[Any], grads: list[Any], squares: list[Any], moved: list[Any], scalars: Any, error: Any
) -> None:
    """d = sign*g + decay*p;  v = rho*v + (1-rho)*d²;  d *= sqrt(u+eps) / sqrt(v+eps);  u from d as v;  p -= lr*d.

    Parameters
    ----------
    params, grads, squares, moved : lists of arrays
        One dtype, C-contiguous.
    scalars : array (6,)
        lr, rho, 1 - rho, eps, weight decay, sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    lr, rho, take, eps, decay, sign = (s for s in scalars)
    for p, g, v, u in zip(params, grads, squares, moved, strict=True):
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        v[...] = rho * v + take * (d * d)
        d = d * (xp.sqrt(u + eps) / xp.sqrt(v + eps))
        u[...] = rho * u + take * (d * d)
        p -= lr * d


@adadelta_step.numpy
def _(params: list[Any], grads: list[Any], squares: list[Any], moved: list[Any], scalars: Any, error: Any) -> None:
    if error[0]:
        return
    lr, rho, take, eps, decay, sign = scalars.tolist()

    def update(i: int, p: Any, g: Any, v: Any, u: Any) -> None:
        room, step = scratch(p, 2)
        d = working_gradient(p, g, decay, sign, room)
        axpby(take, np.multiply(d, d, out=step), rho, v, step)
        np.sqrt(np.add(v, eps, out=step), out=step)
        np.divide(d, step, out=step)
        step *= np.sqrt(np.add(u, eps, out=room), out=room)
        axpby(take, np.multiply(step, step, out=room), rho, u, room)
        step *= lr
        p -= step

    on_blocks(update, params, grads, squares, moved)


@adadelta_step.kernel(stored=("params", "grads", "squares", "moved"))
def _(
    device: Device, params: list[Any], grads: list[Any], squares: list[Any], moved: list[Any], scalars: Any, error: Any
) -> None:
    columns = {"params": params, "grads": grads, "squares": squares, "moved": moved}
    launch_rule(device, SOURCE, "adadelta_step", scalars, error, **columns)
