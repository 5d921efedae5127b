"""Adagrad's update of all parameters at once (``kernels/adagrad.cu``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.multi_tensor import on_blocks, scratch, working_gradient
from gpunn.gpu.launcher import KernelSource, c_type
from gpunn.gpu.multi_tensor import BLOCK, tables
from gpunn.primitive import primitive
from tests.examples.multi_tensor import error_words, example_arrays

SOURCE = KernelSource("adagrad.cu", REAL=("float", "double"), VEC=(1, 4))


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(sizes: Sequence[int], dtype: Any, decay: float, sign: float, failed: bool = False) -> dict[str, Any]:
        return {
            "params": example_arrays(rng, sizes, dtype),
            "grads": example_arrays(rng, sizes, dtype),
            "sums": example_arrays(rng, sizes, dtype, positive=True),
            "scalars": np.array([0.05, 1e-3, decay, sign], dtype),
            "error": error_words(failed),
        }

    infinite = case([6], np.float32, 0, 1)
    infinite["params"][0][1] = np.inf  # without decay it has no share in d
    return [
        infinite,
        case([1, 5, 4097], np.float32, 0, 1),
        case([8192, 3], np.float32, 0.1, -1),
        case([0, 7], np.float32, 0, -1),
        case([3] * 200, np.float32, 0.1, 1),  # more than one table
        case([33, 4], np.float64, 0.1, -1),
        case([5], np.float32, 0, 1, failed=True),
    ]


@primitive(examples=_examples, returns=(), mutates=("params", "sums"))
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


@adagrad_step.kernel
def _(device: Device, params: list[Any], grads: list[Any], sums: list[Any], scalars: Any, error: Any) -> None:
    columns = ("params", "inout", params), ("grads", "in", grads), ("sums", "inout", sums)
    real = c_type(scalars.dtype, "adagrad_step")
    for t in tables(*columns):
        args = (t.struct, scalars, error)
        SOURCE.launch(device, "adagrad_step", (t.chunks, 1, 1), BLOCK, args, pointees=t.pointees, REAL=real, VEC=t.vec)
