"""LAMB's update of all parameters at once (``kernels/lamb.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource, c_type
from gpunn.gpu.multi_tensor import BLOCK, tables
from gpunn.ops.adam import moments
from gpunn.primitive import primitive

SOURCE = KernelSource("lamb.cu", REAL=("float", "double"), VEC=(1, 4))


@primitive(returns=(), mutates=("params", "means", "squares"))
def lamb_step(
    xp: Any, params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any
) -> None:
    """m += (1-beta1)*(d-m);  v = beta2*v + (1-beta2)*d*d;  u = scale*m/(sqrt(v)+eps) + decay*p;  p -= lr*(|p|/|u|)*u.

    d = sign*g, and the ratio of the norms is 1 where one of them is 0.

    Parameters
    ----------
    params, grads, means, squares : lists of arrays
        One dtype, C-contiguous.
    scalars : array (8,)
        lr, scale = sqrt(1 - beta2^t) / (1 - beta1^t), eps sqrt(1 - beta2^t), 1 - beta1, beta2, 1 - beta2, weight
        decay, sign (-1 to maximise), on the device.
    error : int32 array (4,)
        The device's error buffer: nothing is written if its first word is not 0.
    """
    if int(error[0]):
        return
    lr, scale, eps, take, beta2, take2, decay, sign = (s for s in scalars)
    for p, g, m, v in zip(params, grads, means, squares, strict=True):
        d = sign * g
        m += take * (d - m)
        v[...] = beta2 * v + take2 * (d * d)
        u = scale * (m / (xp.sqrt(v) + eps))
        if decay:  # 0 times an infinite parameter would be NaN
            u = u + decay * p
        length, step = xp.sqrt((p * p).sum()), xp.sqrt((u * u).sum())
        one = p.dtype.type(1)
        ratio = xp.where((length > 0) & (step > 0), length / xp.where(step > 0, step, one), one)
        p -= lr * ratio * u


@lamb_step.numpy
def _(params: list[Any], grads: list[Any], means: list[Any], squares: list[Any], scalars: Any, error: Any) -> None:
    if error[0]:
        return
    lr, scale, eps, take, beta2, take2, decay, sign = scalars

    def direction(p: Any, m: Any, v: Any, room: Any, other: Any) -> Any:
        u = np.sqrt(v, out=room)
        u += eps
        np.divide(m, u, out=u)
        u *= scale
        if decay:
            u += np.multiply(p, decay, out=other)
        return u

    def move(i: int, p: Any, g: Any, m: Any, v: Any) -> tuple[float, float]:
        room, other = scratch(p, 2)
        moments(working_gradient(p, g, 0, sign, room), m, v, take, beta2, take2, other)
        u = direction(p, m, v, room, other)
        return float(np.dot(p, p)), float(np.dot(u, u))

    steps = []
    for blocks in on_blocks(move, params, grads, means, squares):
        length, step = (np.sqrt(sum(parts)) for parts in zip(*blocks, strict=True)) if blocks else (0, 0)
        ratio = length / step if length > 0 and step > 0 else 1
        steps.append(lr.dtype.type(lr * ratio))

    # Computes the direction again, instead of keeping all of them in memory.
    def apply(i: int, p: Any, m: Any, v: Any) -> None:
        room, other = scratch(p, 2)
        u = direction(p, m, v, room, other)
        u *= steps[i]
        p -= u

    on_blocks(apply, params, means, squares)


@lamb_step.kernel
def _(
    device: Device,
    params: list[Any],
    grads: list[Any],
    means: list[Any],
    squares: list[Any],
    scalars: Any,
    error: Any,
    merge_threads: int = BLOCK,
) -> None:
    columns: list[tuple[str, str, list[Any]]] = [("params", "inout", params), ("grads", "in", grads)]
    columns += [("means", "inout", means), ("squares", "inout", squares)]
    real = c_type(scalars.dtype, "lamb_step")
    for t in tables(*columns):
        part = device.empty((t.chunks, 2), scalars.dtype)
        ratio = device.empty((t.count,), scalars.dtype)
        grid = (t.chunks, 1, 1)
        how: dict[str, Any] = {"pointees": t.pointees, "REAL": real, "VEC": t.vec}
        SOURCE.launch(device, "lamb_moments", grid, BLOCK, (part, t.struct, scalars, error), **how)
        SOURCE.launch(device, "lamb_ratio", (t.count, 1, 1), merge_threads, (ratio, part, t.struct, error), **how)
        SOURCE.launch(device, "lamb_apply", grid, BLOCK, (t.struct, ratio, scalars, error), **how)
