"""Functions of one element that are composed of others: sinh, cosh, tan, log2, log10, and clamp to one side."""

from __future__ import annotations

import math
from typing import Any

from gpunn._autocast import casting
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, here
from gpunn.ops.clamp import clamp
from gpunn.ops.unary import cos, exp, expm1, log, sin


def _floating(op: str, x: Tensor) -> Tensor:
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    return x


def sinh(x: Tensor) -> Tensor:
    """The hyperbolic sine, exact also where x is small.

    Parameters
    ----------
    x : Tensor
        float32 or float64. Infinite where exp(x) is: beyond 88.7 and 709.7.
    """
    if casting.on:
        (x,) = casting.inputs("sinh", x)
    x = _floating("sinh", x)
    return (expm1(x) - expm1(-x)) * 0.5


def cosh(x: Tensor) -> Tensor:
    """The hyperbolic cosine.

    Parameters
    ----------
    x : Tensor
        float32 or float64. Infinite where exp(x) is: beyond 88.7 and 709.7.
    """
    if casting.on:
        (x,) = casting.inputs("cosh", x)
    x = _floating("cosh", x)
    return (exp(x) + exp(-x)) * 0.5


def tan(x: Tensor) -> Tensor:
    """The tangent of x in radians: sin(x) / cos(x).

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    if casting.on:
        (x,) = casting.inputs("tan", x)
    x = _floating("tan", x)
    return sin(x) / cos(x)


def log2(x: Tensor) -> Tensor:
    """The logarithm to base 2: log(x) / log(2), so a power of 2 may be off by the last bit.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    if casting.on:
        (x,) = casting.inputs("log2", x)
    return log(_floating("log2", x)) / math.log(2)


def log10(x: Tensor) -> Tensor:
    """The logarithm to base 10: log(x) / log(10), so a power of 10 may be off by the last bit.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    """
    if casting.on:
        (x,) = casting.inputs("log10", x)
    return log(_floating("log10", x)) / math.log(10)


def clamp_min(x: Tensor, min: Any) -> Tensor:
    """The elements, those below ``min`` replaced by it.

    Parameters
    ----------
    x : Tensor
    min : number or Tensor
    """
    return clamp(x, min=min)


def clamp_max(x: Tensor, max: Any) -> Tensor:
    """The elements, those above ``max`` replaced by it.

    Parameters
    ----------
    x : Tensor
    max : number or Tensor
    """
    return clamp(x, max=max)
