"""RMSprop's update of all parameters at once (``kernels/rmsprop.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import DECLARED, launch_rule
from gpunn.primitive import primitive

SOURCE = KernelSource("rmsprop.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "squares", "means", "momenta"))
def rmsprop_step(
    xp: Any,
    params: list[Any],
    grads: list[Any],
    squares: list[Any],
    means: list[Any],
    momenta: list[Any],
    scalars: Any,
    error: Any,
) -> None:
    """d = sign*g + decay*p;  v = alpha*v + (1-alpha)*d*d;  d /= sqrt(v [- mean²]) + eps;  m = mu*m + d;  p -= lr * m.

    Parameters
    ----------
    params, grads, squares : lists of arrays
        One dtype, C-contiguous.
    means : list of arrays or None
        Running averages of d, to use the variance in place of the mean square (centered).
    momenta : list of arrays or None
        Without, p -= lr * d.
    scalars : array (7,)
        lr, alpha, 1 - alpha, eps, weight decay, mu, sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    lr, alpha, take, eps, decay, mu, sign = (s for s in scalars)
    for p, g, v, mean, m in zip(params, grads, squares, means, momenta, strict=True):
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        v[...] = alpha * v + take * (d * d)
        spread = v
        if mean is not None:
            mean += take * (d - mean)
            spread = v - mean * mean
        d = d / (xp.sqrt(spread) + eps)
        if m is not None:
            m[...] = mu * m + d
            d = m
        p -= lr * d


@rmsprop_step.numpy
def _(
    params: list[Any],
    grads: list[Any],
    squares: list[Any],
    means: list[Any],
    momenta: list[Any],
    scalars: Any,
    error: Any,
) -> None:
    if error[0]:
        return
    lr, alpha, take, eps, decay, mu, sign = scalars

    def update(i: int, p: Any, g: Any, v: Any, mean: Any, m: Any) -> None:
        room, step = scratch(p, 2)
        d = working_gradient(p, g, decay, sign, room)
        np.multiply(d, d, out=step)
        step *= take
        v *= alpha
        v += step
        if mean is None:
            np.sqrt(v, out=step)
        else:
            np.subtract(d, mean, out=step)
            step *= take
            mean += step
            np.multiply(mean, mean, out=step)
            np.subtract(v, step, out=step)
            np.sqrt(step, out=step)
        step += eps
        np.divide(d, step, out=step)
        if m is not None:
            m *= mu
            m += step
        p -= np.multiply(step if m is None else m, lr, out=step)

    on_blocks(update, params, grads, squares, means, momenta)


@rmsprop_step.kernel(stored=("params", "grads", "squares", "means", "momenta"))
def _(
    device: Device,
    params: list[Any],
    grads: list[Any],
    squares: list[Any],
    means: list[Any],
    momenta: list[Any],
    scalars: Any,
    error: Any,
) -> None:
    columns = {"params": params, "grads": grads, "squares": squares, "means": means, "momenta": momenta}
    launch_rule(device, SOURCE, "rmsprop_step", scalars, error, **columns)
