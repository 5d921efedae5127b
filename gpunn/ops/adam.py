"""Adam's and AdamW's update of all parameters at once (``kernels/adam.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.blas import axpby
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.primitive import primitive

SOURCE = KernelSource("adam.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "means", "squares", "largest"))
def adam_step(
    xp: Any,
    params: list[Any],
    grads: list[Any],
    means: list[Any],
    squares: list[Any],
    largest: list[Any],
    scalars: Any,
    error: Any,
) -> None:
    """p *= keep;  d = sign*g + decay*p;  m += (1-beta1)*(d-m);  v = beta2*v + (1-beta2)*d²;  p -= size*m/(sqrt(v)+eps).

    Parameters
    ----------
    params, grads, means, squares : lists of arrays
        One dtype, C-contiguous.
    largest : list of arrays or None
        AMSGrad's largest squares so far, used in place of squares.
    scalars : array (8,)
        size = lr sqrt(1 - beta2^t) / (1 - beta1^t), eps sqrt(1 - beta2^t), 1 - beta1, beta2, 1 - beta2, decay (of
        Adam), keep (1 - lr decay, of AdamW), sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    size, eps, take, beta2, take2, decay, keep, sign = (s for s in scalars)
    for p, g, m, v, top in zip(params, grads, means, squares, largest, strict=True):
        p *= keep
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        m += take * (d - m)
        v[...] = beta2 * v + take2 * (d * d)
        if top is not None:
            top[...] = xp.maximum(top, v)
        p -= size * (m / (xp.sqrt(v if top is None else top) + eps))


@adam_step.numpy
def _(
    params: list[Any],
    grads: list[Any],
    means: list[Any],
    squares: list[Any],
    largest: list[Any],
    scalars: Any,
    error: Any,
) -> None:
    if error[0]:
        return
    size, eps, take, beta2, take2, decay, keep, sign = scalars

    def update(i: int, p: Any, g: Any, m: Any, v: Any, top: Any) -> None:
        room, other = scratch(p, 2)
        if keep != 1:
            p *= keep
        d = working_gradient(p, g, decay, sign, room)
        moments(d, m, v, take, beta2, take2, other)
        if top is not None:
            v = np.maximum(top, v, out=top)
        step = np.sqrt(v, out=other)
        step += eps
        np.divide(m, step, out=step)
        step *= size
        p -= step

    on_blocks(update, params, grads, means, squares, largest)


def moments(d: Any, m: Any, v: Any, take: Any, beta2: Any, take2: Any, room: Any) -> None:
    """Update the running averages of d and of its square, in place."""
    axpby(take, d, 1 - take, m, room)
    np.multiply(d, d, out=room)
    axpby(take2, room, beta2, v, room)


@adam_step.kernel(stored=("params", "grads", "means", "squares", "largest"))
def _(
    device: Device,
    params: list[Any],
    grads: list[Any],
    means: list[Any],
    squares: list[Any],
    largest: list[Any],
    scalars: Any,
    error: Any,
) -> None:
    columns = {"params": params, "grads": grads, "means": means, "squares": squares, "largest": largest}
    launch_rule(device, SOURCE, "adam_step", scalars, error, **columns)
