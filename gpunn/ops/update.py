"""In-place arithmetic: ``t += u`` and its relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._in_place import recorded, rewrite
from gpunn._tensor import Tensor
from gpunn._views import memory, written
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.broadcast import launch_update
from gpunn.ops.accumulate import copy
from gpunn.ops.add import add, sub
from gpunn.ops.binary import aligned, broadcast_binary, operands
from gpunn.ops.div import div
from gpunn.ops.mul import mul
from gpunn.primitive import primitive

_OPS = {"add": add, "sub": sub, "mul": mul, "div": div}


@primitive(returns=(), mutates=("target",))
def update(xp: Any, name: str, target: Any, other: Any) -> None:
    """target (+ - * /)= other, a number or an array that is broadcast to target's shape."""
    function = {"add": xp.add, "sub": xp.subtract, "mul": xp.multiply, "div": xp.divide}[name]
    with quiet():
        function(target, other, out=target)


@update.kernel
def _(device: Device, name: str, target: Any, other: Any) -> None:
    launch_update(device, name, target, other)


def update_(x: Tensor, name: str, other: Any, alpha: float = 1.0) -> Tensor:
    """x.add_(other) and the like: changes x in place, on the tape where x or other is; returns x.

    Parameters
    ----------
    x : Tensor
    name : str
        "add", "sub", "mul" or "div".
    other : Tensor or number
        Broadcast to x's shape.
    alpha : number
        Factor on ``other``.

    Raises
    ------
    UsageError
        If x is a leaf that requires a gradient and ops are being recorded.
    ShapeError, DTypeError
        If the result does not fit into x.
    """
    op = f"{name}_"
    target, value = operands(op, x, other, divides=name == "div")
    fits = np.broadcast_shapes(x.shape, value.shape) == x.shape and target.dtype == x.dtype
    if not fits or recorded(op, x, value):
        options = {"alpha": alpha} if alpha != 1 else {}
        return rewrite(x, op, lambda old: _OPS[name](old, other, **options), value)
    array = aligned(value, x.ndim)
    if alpha != 1:
        array = broadcast_binary(x.device, "mul", array, x.dtype.type(alpha))
    elif isinstance(value, Tensor) and value is not x and value._storage is x._storage:
        array = copy(x.device, array)  # what is written may be read again
    into = memory(op, x)
    update(x.device, name, into, array)
    written(x, into)
    return x
