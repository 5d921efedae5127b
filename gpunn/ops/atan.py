"""The inverses of sine, cosine, tangent and their hyperbolic kin, and the angle of a point (``kernels/atan.cu``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import in_blocks, quiet
from gpunn.errors import DTypeError, here
from gpunn.gpu.elementwise import DECLARED, launch_elementwise
from gpunn.gpu.launcher import KernelSource
from gpunn.ops.binary import together
from gpunn.ops.expand import broadcast_tensors
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("atan.cu", **DECLARED)


class _Inverse(NamedTuple):
    """The array libraries' name of a function, and its gradient's factor as a function of x."""

    ufunc: str
    slope: Callable[[Any, Any], Any]


# In the order of atan.cu.
FUNCTIONS = {
    "acos": _Inverse("arccos", lambda xp, x: -1 / xp.sqrt(1 - x * x)),
    "acosh": _Inverse("arccosh", lambda xp, x: 1 / xp.sqrt(x * x - 1)),
    "asin": _Inverse("arcsin", lambda xp, x: 1 / xp.sqrt(1 - x * x)),
    "asinh": _Inverse("arcsinh", lambda xp, x: 1 / xp.sqrt(x * x + 1)),
    "atan": _Inverse("arctan", lambda xp, x: 1 / (x * x + 1)),
    "atanh": _Inverse("arctanh", lambda xp, x: 1 / (1 - x * x)),
}
_CODES = {name: code for code, name in enumerate(FUNCTIONS)}


@primitive(returns=("y",))
def atan_forward(xp: Any, name: str, x: Any) -> Any:
    """y = the function called ``name`` of x."""
    with quiet():
        return getattr(xp, FUNCTIONS[name].ufunc)(x)


@atan_forward.numpy
def _(name: str, x: np.ndarray) -> np.ndarray:
    return in_blocks(getattr(np, FUNCTIONS[name].ufunc), x.dtype, x)


@atan_forward.kernel(stored=("x",))
def _(device: Device, name: str, x: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_elementwise(SOURCE, "atan_forward", device, (y, x), _CODES[name])
    return y


@primitive(returns=("dx",))
def atan_backward(xp: Any, name: str, dy: Any, x: Any) -> Any:
    """dx = dy times the slope of the function called ``name`` at x."""
    with quiet():
        return (dy * FUNCTIONS[name].slope(xp, x)).astype(dy.dtype, copy=False)


@atan_backward.kernel(stored=("dy", "x"))
def _(device: Device, name: str, dy: Any, x: Any) -> Any:
    dx = device.empty(dy.shape, dy.dtype)
    launch_elementwise(SOURCE, "atan_backward", device, (dx, dy, x), _CODES[name])
    return dx


@primitive(returns=("y",))
def atan2_forward(xp: Any, a: Any, b: Any) -> Any:
    """y = the angle of the point (b, a), from -pi to pi; a and b of one shape."""
    return xp.arctan2(a, b)


@atan2_forward.kernel(stored=("a", "b"))
def _(device: Device, a: Any, b: Any) -> Any:
    y = device.empty(a.shape, a.dtype)
    launch_elementwise(SOURCE, "atan2_forward", device, (y, a, b))
    return y


@primitive(returns=("da", "db"))
def atan2_backward(xp: Any, dy: Any, a: Any, b: Any) -> Any:
    """da = dy b / (a^2 + b^2), db = -dy a / (a^2 + b^2); 0 at the origin, as in PyTorch."""
    with quiet():
        lengths = a * a + b * b
        scaled = xp.where(lengths == 0, dy.dtype.type(0), dy / lengths)
        return xp.asarray(scaled * b), xp.asarray(-scaled * a)


@atan2_backward.kernel(stored=("dy", "a", "b"))
def _(device: Device, dy: Any, a: Any, b: Any) -> Any:
    da, db = (device.empty(dy.shape, dy.dtype) for _ in "ab")
    launch_elementwise(SOURCE, "atan2_backward", device, (da, db, dy, a, b))
    return da, db


def _apply(name: str, x: Tensor) -> Tensor:
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(name)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    device, source = x.device, x._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (atan_backward(device, name, dy, source),)

    return record(name, atan_forward(device, name, source), device, (x,), backward, saves=(x,))


def asin(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose sine is x; NaN beyond 1.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    if casting.on:
        (x,) = casting.inputs("asin", x)
    return _apply("asin", x)


def acos(x: Tensor) -> Tensor:
    """The angle from 0 to pi whose cosine is x; NaN beyond 1.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    if casting.on:
        (x,) = casting.inputs("acos", x)
    return _apply("acos", x)


def atan(x: Tensor) -> Tensor:
    """The angle from -pi/2 to pi/2 whose tangent is x.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    return _apply("atan", x)


def asinh(x: Tensor) -> Tensor:
    """The number whose hyperbolic sine is x.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    return _apply("asinh", x)


def acosh(x: Tensor) -> Tensor:
    """The positive number whose hyperbolic cosine is x; NaN below 1.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    return _apply("acosh", x)


def atanh(x: Tensor) -> Tensor:
    """The number whose hyperbolic tangent is x; NaN beyond 1.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    return _apply("atanh", x)


def atan2(x: Tensor, other: Tensor) -> Tensor:
    """The angle of the points (other, x), from -pi to pi, with broadcasting.

    Parameters
    ----------
    x : Tensor
        How far up.
    other : Tensor
        How far to the right. Both floating.

    Examples
    --------
    >>> import gpunn
    >>> atan2(gpunn.tensor([0.0]), gpunn.tensor([1.0])).tolist()
    [0.0]
    """
    if casting.on:
        x, other = casting.inputs("atan2", x, other)
    op = "atan2"
    for t in (x, other):
        if t.dtype.kind not in FLOATING:
            raise DTypeError(f"{here(op)}: expected floating dtypes; got {t.dtype}. Convert with .float().")
    a, b = broadcast_tensors(*together(op, (x, other)))
    device, up, right = a.device, a._physical, b._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return tuple(atan2_backward(device, dy, up, right))

    return record(op, atan2_forward(device, up, right), device, (a, b), backward, saves=(a, b))
