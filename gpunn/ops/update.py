"""In-place arithmetic: ``t += u`` and its relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import UsageError, here
from gpunn.gpu.broadcast import launch_update
from gpunn.ops.binary import aligned, broadcast_binary, operands
from gpunn.primitive import primitive


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
    """x.add_(other) and the like: changes x, off the tape; returns x.

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
        If x is on the tape, or the result's shape or dtype differs from x's.
    """
    target, other = operands(f"{name}_", x, other, divides=name == "div")
    wide = np.broadcast_shapes(x.shape, other.shape)
    if wide != x.shape or target.dtype != x.dtype:
        raise UsageError(
            f"{here(f'{name}_')}: the result, {wide} {target.dtype}, does not fit into a tensor of "
            f"{x.shape} {x.dtype} in place; write x = x {'+-*/'[('add', 'sub', 'mul', 'div').index(name)]} other."
        )
    array = aligned(other, x.ndim)
    if alpha != 1:
        array = broadcast_binary(x.device, "mul", array, x.dtype.type(alpha))
    update(x.device, name, x._in_place(f"{name}_", launches=True), array)
    return x
