"""Methods that change a Tensor in place; what that means is in ``_in_place``.

``add_`` and its relatives have a kernel that writes to x; the others compute their result first.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._half import FLOATING
from gpunn._in_place import rewrite
from gpunn.errors import DTypeError, ShapeError, UsageError, here

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


def _in_place(module: str, function: str, what: str) -> Callable[..., Any]:
    """The method that lets a tensor become ``ops.<module>.<function>(tensor)``."""

    def method(self: Any) -> Any:
        return rewrite(self, method.__name__, getattr(importlib.import_module(f"gpunn.ops.{module}"), function))

    method.__name__ = function.rstrip("_") + "_"
    method.__qualname__ = f"InPlaceMethods.{method.__name__}"
    method.__doc__ = f"{what}, in place; returns itself. See ``Tensor.{function.rstrip('_')}``."
    return method


class InPlaceMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()

    # -- other values ----------------------------------------------------------------------

    def fill_(self: Any, value: Any) -> Tensor:
        """Set every element; returns itself."""
        return _fill(self, "fill_", value)

    def zero_(self: Any) -> Tensor:
        """Set every element to zero; returns itself."""
        return _fill(self, "zero_", 0)

    def copy_(self: Any, source: Any, non_blocking: bool = False) -> Tensor:
        """Copy values from a tensor (of any device), number, NumPy or CuPy array that broadcasts; returns itself.

        ``non_blocking`` is accepted so that PyTorch code runs.
        """
        from gpunn.ops.copy_from import copy_from

        return copy_from(self, source)

    def normal_(self: Any, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
        """Draw every element from a Gaussian, on the host; returns itself."""
        return _draw(self, "normal_", mean, std, generator)

    def uniform_(self: Any, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
        """Draw every element uniformly from [low, high), on the host; returns itself."""
        return _draw(self, "uniform_", low, high, generator)

    def detach_(self: Any) -> Tensor:
        """Take it off the tape; returns itself."""
        if self._view is not None and self._view.base is not None:
            raise UsageError("detach_: a view stays where its base is on the tape; use detach().")
        self._leave_tape()
        return self

    # -- arithmetic ------------------------------------------------------------------------

    def add_(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """Add ``alpha * other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "add", other, alpha)

    def sub_(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """Subtract ``alpha * other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "sub", other, alpha)

    def mul_(self: Any, other: Any) -> Tensor:
        """Multiply by ``other``, a tensor broadcast to this shape or a number; returns itself."""
        return _update(self, "mul", other)

    def div_(self: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """Divide by ``other``, a tensor broadcast to this shape or a number; returns itself."""
        if rounding_mode is not None:
            return rewrite(self, "div_", lambda x: x.div(other, rounding_mode=rounding_mode), other)
        return _update(self, "div", other)

    subtract_, multiply_, divide_, true_divide_ = sub_, mul_, div_, div_

    def pow_(self: Any, exponent: Any) -> Tensor:
        """x ** exponent, in place; returns itself."""
        return rewrite(self, "pow_", lambda x: x.pow(exponent), exponent)

    def floor_divide_(self: Any, other: Any) -> Tensor:
        """floor(x / other), in place; returns itself."""
        return rewrite(self, "floor_divide_", lambda x: x // other, other)

    def remainder_(self: Any, other: Any) -> Tensor:
        """The remainder of x / other, with the sign of other, in place; returns itself."""
        return rewrite(self, "remainder_", lambda x: x % other, other)

    # ``a += b`` changes a, which all its names and views see.

    def __iadd__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.add_)

    def __isub__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.sub_)

    def __imul__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.mul_)

    def __itruediv__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.div_)

    def __ifloordiv__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.floor_divide_)

    def __imod__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.remainder_)

    def __ipow__(self: Any, other: Any) -> Any:
        return _augmented(self, other, self.pow_)

    def __iand__(self: Any, other: Any) -> Any:
        return _augmented(self, other, lambda value: rewrite(self, "__iand__", lambda x: x & value))

    def __ior__(self: Any, other: Any) -> Any:
        return _augmented(self, other, lambda value: rewrite(self, "__ior__", lambda x: x | value))

    def __ixor__(self: Any, other: Any) -> Any:
        return _augmented(self, other, lambda value: rewrite(self, "__ixor__", lambda x: x ^ value))

    # -- functions of each element ---------------------------------------------------------

    abs_ = _in_place("unary", "abs_", "The absolute value")
    exp_ = _in_place("unary", "exp", "e to the power of each element")
    expm1_ = _in_place("unary", "expm1", "exp(x) - 1")
    log_ = _in_place("unary", "log", "The natural logarithm")
    log1p_ = _in_place("unary", "log1p", "log(1 + x)")
    sqrt_ = _in_place("unary", "sqrt", "The square root")
    rsqrt_ = _in_place("unary", "rsqrt", "1 / sqrt(x)")
    reciprocal_ = _in_place("unary", "reciprocal", "1 / x")
    square_ = _in_place("unary", "square", "x * x")
    sin_ = _in_place("unary", "sin", "The sine")
    cos_ = _in_place("unary", "cos", "The cosine")
    sign_ = _in_place("unary", "sign", "-1, 0 or 1")
    floor_ = _in_place("unary", "floor", "The largest integer not above each element")
    ceil_ = _in_place("unary", "ceil", "The smallest integer not below each element")
    neg_ = negative_ = _in_place("mul", "neg", "-x")
    erf_ = _in_place("erf", "erf", "The error function")
    sigmoid_ = _in_place("sigmoid", "sigmoid", "1 / (1 + exp(-x))")
    tanh_ = _in_place("tanh", "tanh", "The hyperbolic tangent")
    relu_ = _in_place("relu", "relu", "max(x, 0)")
    logical_not_ = _in_place("compare", "logical_not", "Where elements are 0")

    def round_(self: Any, *, decimals: int = 0) -> Tensor:
        """Round to the nearest multiple of 10^-decimals; returns itself."""
        return rewrite(self, "round_", lambda x: x.round(decimals=decimals))

    def clamp_(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """Limit every element to [min, max]; returns itself."""
        return rewrite(self, "clamp_", lambda x: x.clamp(min, max), min, max)

    clip_ = clamp_

    def tril_(self: Any, diagonal: int = 0) -> Tensor:
        """Set what is above a diagonal to 0; returns itself."""
        return rewrite(self, "tril_", lambda x: x.tril(diagonal))

    def triu_(self: Any, diagonal: int = 0) -> Tensor:
        """Set what is below a diagonal to 0; returns itself."""
        return rewrite(self, "triu_", lambda x: x.triu(diagonal))

    def masked_fill_(self: Any, mask: Tensor, value: Any) -> Tensor:
        """``value`` where the mask holds; returns itself."""
        return rewrite(self, "masked_fill_", lambda x: x.masked_fill(mask, value), value)


def _fill(x: Any, op: str, value: Any) -> Any:
    from gpunn.ops.copy_from import copy_from

    if hasattr(value, "ndim") and value.ndim:
        raise ShapeError(f"{here(op)}: expected a number or a tensor without axes; got shape {tuple(value.shape)}.")
    return copy_from(x, value, op)


def _update(x: Any, name: str, other: Any, alpha: float = 1) -> Any:
    from gpunn.ops.update import update_

    return update_(x, name, other, alpha)


def _augmented(x: Any, other: Any, change: Callable[[Any], Any]) -> Any:
    from gpunn.ops.binary import is_operand

    return change(other) if is_operand(other) else NotImplemented


def _draw(x: Any, op: str, first: float, second: float, generator: Any) -> Any:
    from gpunn._creation_arguments import Goal
    from gpunn.ops.copy_from import copy_from
    from gpunn.random import check_normal, check_uniform, generator_of

    (check_normal if op == "normal_" else check_uniform)(op, first, second)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}.")
    source = generator_of(op, generator)
    draw = source.normal if op == "normal_" else source.uniform
    goal = Goal(op, x.dtype, x.device, False, None)
    return copy_from(x, goal.drawn(x.shape, lambda: np.asarray(draw(first, second, x.shape, x.dtype))), op)
