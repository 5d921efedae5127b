"""Stochastic gradient descent's update of all parameters at once (``kernels/sgd.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.blas import axpby
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource
from gpunn.gpu.multi_tensor import BLOCK, DECLARED, tables
from gpunn.primitive import primitive

SOURCE = KernelSource("sgd.cu", **DECLARED)


@primitive(returns=(), mutates=("params", "momenta"))
def sgd_step(
    xp: Any,
    params: list[Any],
    grads: list[Any],
    momenta: list[Any],
    first: list[bool],
    scalars: Any,
    error: Any,
    nesterov: bool,
) -> None:
    """d = sign*g + decay*p;  m = d at first, then mu*m + (1-dampening)*d;  p -= lr * (d + mu*m, or m).

    Parameters
    ----------
    params, grads, momenta : lists of arrays
        One dtype, C-contiguous; a momentum of None means plain descent.
    first : list of bool
        Whether this is the tensor's first step with momentum.
    scalars : array (5,)
        lr, mu, 1 - dampening, weight decay, sign (-1 to maximise; any other factor), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    lr, mu, undamped, decay, sign = (s for s in scalars)
    for p, g, m, is_first in zip(params, grads, momenta, first, strict=True):
        d = sign * g + decay * p if decay else sign * g  # 0 times an infinite parameter would be NaN
        if m is not None:
            m[...] = d if is_first else mu * m + undamped * d
            d = d + mu * m if nesterov else m
        p -= lr * d


@sgd_step.numpy
def _(
    params: list[Any],
    grads: list[Any],
    momenta: list[Any],
    first: list[bool],
    scalars: Any,
    error: Any,
    nesterov: bool,
) -> None:
    if error[0]:
        return
    lr, mu, undamped, decay, sign = scalars

    def update(i: int, p: Any, g: Any, m: Any) -> None:
        room, other = scratch(p, 2)
        d = working_gradient(p, g, decay, sign, room)
        if m is not None:
            if first[i]:
                m[...] = d
            else:
                axpby(undamped, d, mu, m, other)
            d = np.add(d, np.multiply(m, mu, out=other), out=room) if nesterov else m
        axpby(-lr, d, 1, p, other)

    on_blocks(update, params, grads, momenta)


@sgd_step.kernel(stored=("params", "grads", "momenta"))
def _(
    device: Device,
    params: list[Any],
    grads: list[Any],
    momenta: list[Any],
    first: list[bool],
    scalars: Any,
    error: Any,
    nesterov: bool,
) -> None:
    columns = ("params", "inout", params), ("grads", "in", grads), ("momenta", "inout", momenta)
    for t in tables(*columns, flags=first, form=int(nesterov)):
        args = (t.struct, scalars, error)
        SOURCE.launch(device, "sgd_step", (t.chunks, 1, 1), BLOCK, args, pointees=t.pointees, **t.macros("sgd_step"))
