"""Limiting elements to an interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._promotion import category
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import in_blocks
from gpunn.errors import DTypeError, UsageError, here
from gpunn.gpu.unary import launch_clamp
from gpunn.ops.binary import number_of, together
from gpunn.ops.maximum import at_least, at_most
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",))
def clamp_forward(xp: Any, x: Any, low: float | None, high: float | None) -> Any:
    """y = min(max(x, low), high); NaN is kept, None means no bound."""
    return _limited(xp, x, low, high)


def _limited(xp: Any, x: Any, low: float | None, high: float | None) -> Any:
    y = x if low is None else xp.maximum(x, x.dtype.type(low))
    return y if high is None else xp.minimum(y, x.dtype.type(high))


@clamp_forward.numpy
def _(x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    return in_blocks(lambda part: _limited(np, part, low, high), x.dtype, x)


@clamp_forward.kernel
def _(device: Device, x: Any, low: float | None, high: float | None) -> Any:
    return launch_clamp(device, "clamp_forward", (x,), low, high)


def _gate(xp: Any, dy: Any, x: Any, low: float | None, high: float | None) -> Any:
    inside = xp.ones(x.shape, bool) if low is None else x >= x.dtype.type(low)
    if high is not None:
        inside = inside & (x <= x.dtype.type(high))
    return xp.where(inside, dy, dy.dtype.type(0))


@primitive(returns=("dx",))
def clamp_backward(xp: Any, dy: Any, x: Any, low: float | None, high: float | None) -> Any:
    """dx = dy where low <= x <= high, else 0."""
    return _gate(xp, dy, x, low, high)


@clamp_backward.numpy
def _(dy: np.ndarray, x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    return in_blocks(lambda slope, part: _gate(np, slope, part, low, high), dy.dtype, dy, x)


@clamp_backward.kernel
def _(device: Device, dy: Any, x: Any, low: float | None, high: float | None) -> Any:
    return launch_clamp(device, "clamp_backward", (dy, x), low, high)


def clamp(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """min(max(x, lower bound), upper bound), element by element; ``clip`` is another name.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    min, max : number or Tensor, optional
        Bounds; at least one. Where min is above max the result is max. A tensor is broadcast, and gets the
        gradient where x is beyond it.

    Returns
    -------
    Tensor
        Of the dtype in which x and the bounds meet: integers bounded by a float become float32. NaN stays NaN, with
        gradient 0; the gradient at a bound is 1.

    Raises
    ------
    UsageError
        If there is no bound.
    DTypeError
        If x and the numbers that bound it are bools, or a bound does not fit into x's dtype.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.clamp(gpunn.tensor([-2.0, 0.5, 3.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    if min is None and max is None:
        raise UsageError(f"{here('clamp')}: expected min, max or both; got neither.")
    bounds = [v for v in (min, max) if v is not None]
    categories = []
    for v in bounds:
        if not isinstance(v, Tensor):
            kind = category(v)
            if kind is None:
                raise DTypeError(f"{here('clamp')}: expected numbers or tensors as bounds; got {type(v).__name__}.")
            categories.append(kind)
    x, *among = together("clamp", [x, *(v for v in bounds if isinstance(v, Tensor))], categories)
    if x.dtype.kind == "b" and not among:
        raise DTypeError(f"{here('clamp')}: expected numbers; got bools. Convert with .int() or .float().")
    rest = iter(among)
    min, max = (
        next(rest) if isinstance(v, Tensor) else None if v is None else number_of("clamp", v, x.dtype)
        for v in (min, max)
    )
    if among:
        y = x if min is None else at_least(x, min)
        return y if max is None else at_most(y, max)
    device, source = x.device, x._physical
    y = clamp_forward(device, source, min, max)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (clamp_backward(device, dy, source, min, max),)

    return record("clamp", y, device, (x,), backward, saves=(x,))


clip = clamp
