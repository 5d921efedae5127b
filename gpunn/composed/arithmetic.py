"""Arithmetic of elements that is made of other ops: fused products, logarithms of sums, angles, parts of numbers."""

from __future__ import annotations

import math
from typing import Any

from gpunn._autocast import casting
from gpunn._creation import full_like
from gpunn._half import FLOATING
from gpunn._promotion import category
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, here
from gpunn.ops.add import add
from gpunn.ops.clamp import clamp
from gpunn.ops.compare import compare, isnan, logical_not
from gpunn.ops.div import div
from gpunn.ops.expand import broadcast_to
from gpunn.ops.maximum import maximum, minimum
from gpunn.ops.mul import mul
from gpunn.ops.norm import norm
from gpunn.ops.pow import pow_
from gpunn.ops.unary import abs_, exp, log, log1p, sign, sin, sqrt, square
from gpunn.ops.where import masked_fill, where


def _floating(op: str, *tensors: Tensor) -> None:
    for x in tensors:
        if x.dtype.kind not in FLOATING:
            raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


def addcmul(x: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """x + value * tensor1 * tensor2, with broadcasting.

    Parameters
    ----------
    x, tensor1, tensor2 : Tensor
    value : float
        Factor.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.addcmul(gpunn.ones(2), gpunn.ones(2), gpunn.tensor([2.0, 3.0]), value=0.5).tolist()
    [2.0, 2.5]
    """
    if casting.on:
        x, tensor1, tensor2 = casting.inputs("addcmul", x, tensor1, tensor2)
    return add(x, mul(tensor1, tensor2), alpha=value)


def addcdiv(x: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """x + value * tensor1 / tensor2, with broadcasting.

    Parameters
    ----------
    x, tensor1, tensor2 : Tensor
        Not all integers.
    value : float
        Factor.

    Raises
    ------
    DTypeError
        If both sides of the fraction are integers.
    """
    if casting.on:
        x, tensor1, tensor2 = casting.inputs("addcdiv", x, tensor1, tensor2)
    if all(isinstance(t, Tensor) and t.dtype.kind not in FLOATING for t in (tensor1, tensor2)):
        raise DTypeError(
            f"{here('addcdiv')}: expected a floating tensor1 or tensor2; got {tensor1.dtype} and {tensor2.dtype}. "
            "Convert one with .float(), or use x + value * tensor1.div(tensor2, rounding_mode='trunc')."
        )
    return add(x, div(tensor1, tensor2), alpha=value)


def hypot(x: Tensor, other: Tensor) -> Tensor:
    """sqrt(x^2 + other^2), with broadcasting; finite wherever that is.

    Parameters
    ----------
    x, other : Tensor
        Floating. The gradient where both are 0 is 0.
    """
    _floating("hypot", x, other)
    a, b = abs_(x), abs_(other)
    large, small = maximum(a, b), minimum(a, b)
    # By the larger one, so that no square overflows. Where that is 0 or infinite there is no such ratio.
    endless = compare("eq", a, math.inf) | compare("eq", b, math.inf)
    odd = compare("eq", large, 0) | endless
    ratio = masked_fill(small, odd, 0.0) / masked_fill(large, odd, 1.0)
    return masked_fill(large * sqrt(square(ratio) + 1), endless, math.inf)


def logaddexp(x: Tensor, other: Tensor) -> Tensor:
    """log(exp(x) + exp(other)), with broadcasting; finite wherever that is.

    Parameters
    ----------
    x, other : Tensor
        Floating.
    """
    _floating("logaddexp", x, other)
    # Two infinities of one sign have no difference; NaN goes on through the maximum.
    same = compare("eq", x, other)
    gap = masked_fill(x - other, same, 0.0)
    return maximum(x, other) + log1p(exp(-abs_(gap)))


def logaddexp2(x: Tensor, other: Tensor) -> Tensor:
    """log2(2^x + 2^other), with broadcasting; finite wherever that is.

    Parameters
    ----------
    x, other : Tensor
        Floating.
    """
    _floating("logaddexp2", x, other)
    return logaddexp(x * math.log(2), other * math.log(2)) / math.log(2)


def xlogy(x: Any, other: Any) -> Tensor:
    """x * log(other), and 0 where x is 0; NaN where ``other`` is.

    Parameters
    ----------
    x, other : Tensor or number
        At least one a tensor; floating where a logarithm is taken.
    """
    if not isinstance(other, Tensor):
        other = full_like(x, other)
    if not isinstance(x, Tensor):
        x = full_like(other, x)
    nothing = compare("eq", x, 0) & logical_not(isnan(other))
    wide = broadcast_to(other, nothing.shape)
    return masked_fill(x * log(masked_fill(wide, nothing, 1.0)), nothing, 0.0)


def exp2(x: Tensor) -> Tensor:
    """2 to the power of x.

    Parameters
    ----------
    x : Tensor
        Floating.
    """
    _floating("exp2", x)
    return pow_(2.0, x)


def trunc(x: Tensor) -> Tensor:
    """The nearest integer towards 0; the gradient is 0.

    Parameters
    ----------
    x : Tensor
        Floating or integer.
    """
    return _truncated("trunc", x)


def fix(x: Tensor) -> Tensor:
    """Another name of :func:`gpunn.trunc`.

    Parameters
    ----------
    x : Tensor
    """
    return _truncated("fix", x)


def _truncated(op: str, x: Tensor) -> Tensor:
    if x.dtype.kind == "b":
        raise DTypeError(f"{here(op)}: expected numbers; got bool. Convert with .float().")
    return div(x, 1, rounding_mode="trunc") if x.dtype.kind in FLOATING else x.clone()


def frac(x: Tensor) -> Tensor:
    """x - trunc(x), with x's sign; the gradient is 1.

    Parameters
    ----------
    x : Tensor
        Floating.
    """
    _floating("frac", x)
    return x - trunc(x.detach())


def sgn(x: Tensor) -> Tensor:
    """Another name of :func:`gpunn.sign`, as no tensor is complex.

    Parameters
    ----------
    x : Tensor
    """
    return sign(x)


def deg2rad(x: Tensor) -> Tensor:
    """Degrees as radians.

    Parameters
    ----------
    x : Tensor
        Floating.
    """
    _floating("deg2rad", x)
    return x * (math.pi / 180)


def rad2deg(x: Tensor) -> Tensor:
    """Radians as degrees.

    Parameters
    ----------
    x : Tensor
        Floating.
    """
    _floating("rad2deg", x)
    return x * (180 / math.pi)


def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of the sigmoid.

    Parameters
    ----------
    x : Tensor
        Floating; NaN outside of 0 to 1.
    eps : float, optional
        x is limited to [eps, 1 - eps] first.

    Raises
    ------
    UsageError
        If ``eps`` is no number from 0 to 1.
    """
    _floating("logit", x)
    if eps is not None:
        margin = real_number("logit", "eps", eps, 0, 1)
        x = clamp(x, margin, 1 - margin)
    return log(x / (1 - x))


def sinc(x: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0.

    Parameters
    ----------
    x : Tensor
        Floating.
    """
    _floating("sinc", x)
    nothing = compare("eq", x, 0)
    turns = masked_fill(x, nothing, 1.0) * math.pi
    return masked_fill(sin(turns) / turns, nothing, 1.0)


def float_power(x: Any, exponent: Any) -> Tensor:
    """x ** exponent in float64.

    Parameters
    ----------
    x, exponent : Tensor or number
        At least one a tensor.
    """
    for name, value in (("x", x), ("exponent", exponent)):
        if not isinstance(value, Tensor) and category(value) is None:
            raise UsageError(
                f"{here('float_power')}: {name}: expected a Tensor or a number; got {type(value).__name__}."
            )
    base, power = (t.double() if isinstance(t, Tensor) else float(t) for t in (x, exponent))
    return pow_(base, power)


def heaviside(x: Tensor, values: Tensor) -> Tensor:
    """0 where x is negative, 1 where it is positive, ``values`` where it is 0; no gradient.

    Parameters
    ----------
    x, values : Tensor
        Of one dtype; they broadcast together.

    Raises
    ------
    DTypeError
        If the dtypes differ.
    """
    if x.dtype != values.dtype:
        raise DTypeError(f"{here('heaviside')}: expected one dtype; got {x.dtype} and {values.dtype}.")
    return where(compare("eq", x, 0), values.detach(), compare("gt", x, 0).to(x.dtype))


def copysign(x: Tensor, other: Any) -> Tensor:
    """The size of x with the sign of ``other``; that of a zero counts.

    Parameters
    ----------
    x : Tensor
        Floating.
    other : Tensor or number
    """
    _floating("copysign", x)
    if isinstance(other, Tensor):
        negative = signbit(other)
    else:
        negative = compare("ne", x, x) | (math.copysign(1.0, real_number("copysign", "other", other, finite=False)) < 0)
    return where(negative, -abs_(x), abs_(x))


def signbit(x: Tensor) -> Tensor:
    """Where the sign is a minus, also that of -0.

    Parameters
    ----------
    x : Tensor
    """
    negative = compare("lt", x, 0)
    if x.dtype.kind not in FLOATING:
        return negative
    # Of zeros the reciprocal tells: minus infinity.
    nothing = compare("eq", x, 0)
    return negative | (compare("lt", 1 / where(nothing, x.detach(), 1.0), 0) & nothing)


def dist(x: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of x - other, over all elements.

    Parameters
    ----------
    x, other : Tensor
        Floating; they broadcast together.
    p : float
        The order of the norm.
    """
    if casting.on:
        x, other = casting.inputs("dist", x, other)
    return norm(x - other, p)


def rsub(x: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """other - alpha * x.

    Parameters
    ----------
    x : Tensor
    other : Tensor or number
    alpha : float
        Factor.

    Raises
    ------
    UsageError
        If ``other`` is neither.
    """
    if not isinstance(other, Tensor) and category(other) is None:
        raise UsageError(f"{here('rsub')}: other: expected a Tensor or a number; got {type(other).__name__}.")
    return other - (x if alpha == 1 else x * alpha)
