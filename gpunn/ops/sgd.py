"""Stochastic gradient descent's update of all parameters at once (``kernels/sgd.cu``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import Device
from gpunn.launcher import KernelSource, address_of, c_type, ceil_div, vector_width
from gpunn.primitive import primitive

SOURCE = KernelSource("sgd.cu", REAL=("float", "double"), VEC=(1, 4))
# As in sgd.cu.
_TENSORS, _BLOCK = 96, 256
_CHUNK = _BLOCK * 16
_TENSOR = np.dtype(
    [
        ("param", np.uint64),
        ("grad", np.uint64),
        ("momentum", np.uint64),
        ("n", np.int64),
        ("first_chunk", np.int32),
        ("first_step", np.int32),
    ]
)
_TABLE = np.dtype([("tensor", _TENSOR, (_TENSORS,)), ("count", np.int32), ("nesterov", np.int32)])
_CACHED = 1 << 16  # elements the CPU works on at a time, so that the second pass finds them in the cache


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(sizes: Sequence[int], dtype: Any, momentum: bool, nesterov: bool, failed: bool = False) -> dict[str, Any]:
        draw = [[rng.standard_normal(n).astype(dtype) for n in sizes] for _ in range(3)]
        return {
            "params": draw[0],
            "grads": draw[1],
            "momenta": draw[2] if momentum else [None] * len(sizes),
            "first": [i % 2 == 0 for i in range(len(sizes))],
            "scalars": np.array([0.1, 0.9, 0.8, 0.01, 1.0 if nesterov else -1.0], dtype),
            "error": np.array([int(failed), 0, 0, 0], np.int32),
            "nesterov": nesterov,
        }

    return [
        case([1, 5, 4097], np.float32, True, False),
        case([8192, 3], np.float32, True, True),
        case([100], np.float32, False, False),
        case([0, 7], np.float32, True, False),
        case([3] * 200, np.float32, True, False),  # more than one table
        case([33, 4], np.float64, True, True),
        case([5], np.float32, True, False, failed=True),
    ]


@primitive(examples=_examples, returns=(), mutates=("params", "momenta"))
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
        One dtype, C-contiguous; a momentum of None: plain descent.
    first : list of bool
        Whether this is the tensor's first step with momentum.
    scalars : array (5,)
        lr, mu, 1 - dampening, weight decay, sign (-1 to maximise), on the device.
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
    lr, mu, undamped, decay, sign = (s for s in scalars)

    def update(p: Any, g: Any, m: Any, is_first: bool) -> None:
        room = threads.scratch.array("sgd", p.shape, p.dtype)
        d = g
        if decay:
            d = np.multiply(p, decay, out=room)
            (np.add if sign == 1 else np.subtract)(d, g, out=d)
        elif sign != 1:
            d = np.negative(g, out=room)
        if m is not None:
            if is_first:
                m[...] = d
            else:
                m *= mu
                m += d if undamped == 1 else undamped * d
            d = d + mu * m if nesterov else m
        p -= np.multiply(d, lr, out=room)

    tensors = list(zip(params, grads, momenta, first, strict=True))
    pieces = [(t, part) for t in tensors for part in threads.spans(t[0].size, max(1, t[0].size // (8 * _CACHED)))]

    def task(piece: tuple[tuple[Any, Any, Any, bool], slice]) -> None:
        (p, g, m, is_first), part = piece
        p, g = p.reshape(-1), g.reshape(-1)
        if m is not None:
            m = m.reshape(-1)
        for start in range(part.start, part.stop, _CACHED):
            cached = slice(start, min(part.stop, start + _CACHED))
            update(p[cached], g[cached], None if m is None else m[cached], is_first)

    threads.run(task, pieces)


@sgd_step.kernel
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
    for start in range(0, len(params), _TENSORS):
        part = slice(start, start + _TENSORS)
        table = np.zeros(1, _TABLE)
        chunks, pointees, rows = 0, [], table["tensor"][0]
        for i, (p, g, m, is_first) in enumerate(
            zip(params[part], grads[part], momenta[part], first[part], strict=True)
        ):
            rows[i] = address_of(p), address_of(g), 0 if m is None else address_of(m), p.size, chunks, is_first
            chunks += ceil_div(p.size, _CHUNK)
            pointees += [(p, "inout", f"params[{start + i}]"), (g, "in", f"grads[{start + i}]")]
            if m is not None:
                pointees.append((m, "inout", f"momenta[{start + i}]"))
        table["count"], table["nesterov"] = len(params[part]), nesterov
        vec = vector_width(4, *(array for array, _, _ in pointees if array.size))
        real = c_type(scalars.dtype, "sgd_step")
        SOURCE.launch(
            device, "sgd_step", (chunks, 1, 1), _BLOCK, (table, scalars, error), pointees=pointees, REAL=real, VEC=vec
        )
