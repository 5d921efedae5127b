"""Elementwise functions: exp, log, roots, sine and cosine, absolute value, rounding.

One pair of primitives serves all of them; a function is a row of a table: its formula, its gradient, and
whether the gradient uses the input or the output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import in_blocks, quiet
from gpunn.errors import DTypeError, here
from gpunn.gpu.unary import FUNCTION_CODES, launch_elements
from gpunn.primitive import primitive
from gpunn.tape import record


@dataclass(frozen=True)
class _Function:
    """y = value(xp, x) and dx = gradient(xp, dy, saved), where ``saved`` is x or y, as ``saves`` says.

    The gradient is None where it is 0 everywhere. ``floating``: whether x must be floating.
    """

    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any, Any], Any] | None = None
    saves: str = "x"
    floating: bool = True


def sign_array(xp: Any, x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    return xp.where(x == x, xp.sign(x), x.dtype.type(0))


FUNCTIONS = {
    "exp": _Function(lambda xp, x: xp.exp(x), lambda xp, dy, y: dy * y, "y"),
    "expm1": _Function(lambda xp, x: xp.expm1(x), lambda xp, dy, y: dy * (y + 1), "y"),
    "log": _Function(lambda xp, x: xp.log(x), lambda xp, dy, x: dy / x),
    "log1p": _Function(lambda xp, x: xp.log1p(x), lambda xp, dy, x: dy / (x + 1)),
    "sqrt": _Function(lambda xp, x: xp.sqrt(x), lambda xp, dy, y: dy / (2 * y), "y"),
    "rsqrt": _Function(lambda xp, x: 1 / xp.sqrt(x), lambda xp, dy, y: dy * -0.5 * y * y * y, "y"),
    "reciprocal": _Function(lambda xp, x: 1 / x, lambda xp, dy, y: -dy * y * y, "y"),
    "square": _Function(lambda xp, x: x * x, lambda xp, dy, x: 2 * dy * x, floating=False),
    "sin": _Function(lambda xp, x: xp.sin(x), lambda xp, dy, x: dy * xp.cos(x)),
    "cos": _Function(lambda xp, x: xp.cos(x), lambda xp, dy, x: -dy * xp.sin(x)),
    "abs": _Function(lambda xp, x: xp.abs(x), lambda xp, dy, x: dy * sign_array(xp, x), floating=False),
    "sign": _Function(lambda xp, x: sign_array(xp, x), floating=False),
    "floor": _Function(lambda xp, x: xp.floor(x), floating=False),
    "ceil": _Function(lambda xp, x: xp.ceil(x), floating=False),
    "round": _Function(lambda xp, x: xp.rint(x), floating=False),
}


@primitive(returns=("y",))
def unary_forward(xp: Any, name: str, x: Any) -> Any:
    """y = the function called ``name`` of x."""
    with quiet():
        return FUNCTIONS[name].value(xp, x).astype(x.dtype, copy=False)


@unary_forward.numpy
def _(name: str, x: np.ndarray) -> np.ndarray:
    value, ufunc = FUNCTIONS[name].value, getattr(np, name, None)
    if isinstance(ufunc, np.ufunc) and name != "sign":
        return in_blocks(ufunc, x.dtype, x)  # without a temporary array
    return in_blocks(lambda part: value(np, part), x.dtype, x)


@unary_forward.kernel
def _(device: Device, name: str, x: Any) -> Any:
    return launch_elements(device, "unary_forward", (x,), FUNCTION_CODES[name])


@primitive(returns=("dx",))
def unary_backward(xp: Any, name: str, dy: Any, saved: Any) -> Any:
    """dx from dy and what the function's row saves: its input or its output."""
    gradient = FUNCTIONS[name].gradient
    if gradient is None:
        return xp.zeros_like(dy)
    with quiet():
        return gradient(xp, dy, saved).astype(dy.dtype, copy=False)


@unary_backward.numpy
def _(name: str, dy: np.ndarray, saved: np.ndarray) -> np.ndarray:
    gradient = FUNCTIONS[name].gradient
    if gradient is None:
        return np.zeros_like(dy)
    return in_blocks(lambda *parts: gradient(np, *parts), dy.dtype, dy, saved)


@unary_backward.kernel
def _(device: Device, name: str, dy: Any, saved: Any) -> Any:
    return launch_elements(device, "unary_backward", (dy, saved), FUNCTION_CODES[name])


def _apply(name: str, x: Tensor) -> Tensor:
    function = FUNCTIONS[name]
    if x.dtype.kind not in FLOATING and (function.floating or x.dtype.kind == "b"):
        expected = "a floating dtype" if function.floating else "numbers"
        raise DTypeError(f"{here(name)}: expected {expected}; got {x.dtype}. Convert with .float().")
    device, source = x.device, x._physical
    y = unary_forward(device, name, source)
    by_input = function.gradient is not None and function.saves == "x"
    saved = source if by_input else y

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (unary_backward(device, name, dy, saved),)

    by_output = function.gradient is not None and not by_input
    return record(name, y, device, (x,), backward, saves=(x,) if by_input else (), keeps=by_output)


def exp(x: Tensor) -> Tensor:
    """e to the power of x.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    if casting.on:
        (x,) = casting.inputs("exp", x)
    return _apply("exp", x)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, exact also where x is small.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    if casting.on:
        (x,) = casting.inputs("expm1", x)
    return _apply("expm1", x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    if casting.on:
        (x,) = casting.inputs("log", x)
    return _apply("log", x)


def log1p(x: Tensor) -> Tensor:
    """log(1 + x), exact also where x is small.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    if casting.on:
        (x,) = casting.inputs("log1p", x)
    return _apply("log1p", x)


def sqrt(x: Tensor) -> Tensor:
    """The square root; NaN below 0, and an infinite gradient at 0.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    return _apply("sqrt", x)


def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x).

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    if casting.on:
        (x,) = casting.inputs("rsqrt", x)
    return _apply("rsqrt", x)


def reciprocal(x: Tensor) -> Tensor:
    """1 / x.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    if casting.on:
        (x,) = casting.inputs("reciprocal", x)
    return _apply("reciprocal", x)


def square(x: Tensor) -> Tensor:
    """x * x.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return _apply("square", x)


def sin(x: Tensor) -> Tensor:
    """The sine of x in radians.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    return _apply("sin", x)


def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians.

    Parameters
    ----------
    x : Tensor
        float32 or float64; integers are refused.
    """
    return _apply("cos", x)


def abs_(x: Tensor) -> Tensor:
    """The absolute value; its gradient at 0 is 0.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return _apply("abs", x)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; the gradient is 0.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return _apply("sign", x)


def floor(x: Tensor) -> Tensor:
    """The largest integer not above x; the gradient is 0.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return _apply("floor", x)


def ceil(x: Tensor) -> Tensor:
    """The smallest integer not below x; the gradient is 0.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return _apply("ceil", x)


def round_(x: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, ties to even; the gradient is 0.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    decimals : int
        Round to this many places behind the decimal point, or if negative before it.

    Raises
    ------
    DTypeError
        If x is bool, or ``decimals`` is given for integers.
    UsageError
        If ``decimals`` is no whole number.
    """
    places = whole_number("round", "decimals", decimals)
    if not places:
        return _apply("round", x)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here('round')}: decimals: expected a floating dtype; got {x.dtype}. Convert with .float().")
    scale = 10.0 ** abs(places)
    return _apply("round", x * scale) / scale if places > 0 else _apply("round", x / scale) * scale
