"""A Tensor's arithmetic: operators and elementwise functions.

Each method delegates to an op in ``gpunn/ops``, imported inside the method because ops are written
with tensors. ``self`` is always a Tensor.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from gpunn._half import FLOATING
from gpunn.errors import UsageError

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


@functools.cache  # asking Python each time takes longer than the look at a call's keywords
def ops(name: str) -> Any:
    """The module ``gpunn.ops.<name>``."""
    return importlib.import_module(f"gpunn.ops.{name}")


_REFLECTED = {"div": "truediv", "floor_divide": "floordiv", "remainder": "mod", "pow_": "pow"}
_MIRRORED = {"lt": "__gt__", "gt": "__lt__", "le": "__ge__", "ge": "__le__"}


def _operator(module: str, name: str, a: Any, b: Any) -> Any:
    """The op of two operands, or what :func:`_no_operand` says."""
    is_operand = ops("binary").is_operand
    if not is_operand(b):
        return _no_operand(name, b, f"__r{_REFLECTED.get(name, name)}__")
    if not is_operand(a):
        return _no_operand(name, a, None)
    return getattr(ops(module), name)(a, b)


def _compared(name: str, a: Any, b: Any) -> Any:
    if ops("binary").is_operand(b):
        return ops("compare").compare(name, a, b)
    return NotImplemented if name in ("eq", "ne") else _no_operand(name, b, _MIRRORED[name])


def _joined(name: str, a: Any, b: Any) -> Any:
    return ops("compare").logic(name, a, b) if ops("binary").is_operand(b) else _no_operand(name, b, f"__r{name}__")


def _no_operand(name: str, other: Any, method: str | None) -> Any:
    """NotImplemented if the class of ``other`` has a ``method`` that may know tensors; else raises ArgumentError.

    Python's own classes know none, and other libraries' arrays take ours for one of their own before they fail.
    """
    from gpunn._interop import is_foreign

    theirs = None if method is None else getattr(type(other), method, None)
    knows = theirs is not None and theirs is not getattr(object, method or "", None)
    if knows and type(other).__module__ != "builtins" and not is_foreign(other):
        return NotImplemented
    from gpunn._mistakes import refuse_operand

    refuse_operand(name.rstrip("_"), other)


class MathMethods:
    """Mixed into :class:`gpunn.Tensor`."""

    __slots__ = ()
    # Sets and dicts go by identity, though == compares elements. (`in` on a list tests identity first and then the
    # truth of ==, so it works for the very same tensor and is ambiguous for another.)
    __hash__ = object.__hash__

    # -- operators -------------------------------------------------------------------------

    def __add__(self: Any, other: Any) -> Any:
        return _operator("add", "add", self, other)

    def __radd__(self: Any, other: Any) -> Any:
        return _operator("add", "add", other, self)

    def __sub__(self: Any, other: Any) -> Any:
        return _operator("add", "sub", self, other)

    def __rsub__(self: Any, other: Any) -> Any:
        return _operator("add", "sub", other, self)

    def __mul__(self: Any, other: Any) -> Any:
        return _operator("mul", "mul", self, other)

    def __rmul__(self: Any, other: Any) -> Any:
        return _operator("mul", "mul", other, self)

    def __truediv__(self: Any, other: Any) -> Any:
        return _operator("div", "div", self, other)

    def __rtruediv__(self: Any, other: Any) -> Any:
        return _operator("div", "div", other, self)

    def __floordiv__(self: Any, other: Any) -> Any:
        return _operator("div", "floor_divide", self, other)

    def __rfloordiv__(self: Any, other: Any) -> Any:
        return _operator("div", "floor_divide", other, self)

    def __mod__(self: Any, other: Any) -> Any:
        return _operator("div", "remainder", self, other)

    def __rmod__(self: Any, other: Any) -> Any:
        return _operator("div", "remainder", other, self)

    def __pow__(self: Any, other: Any) -> Any:
        return _operator("pow", "pow_", self, other)

    def __rpow__(self: Any, other: Any) -> Any:
        return _operator("pow", "pow_", other, self)

    def __neg__(self: Any) -> Tensor:
        return ops("mul").neg(self)

    def __abs__(self: Any) -> Tensor:
        return ops("unary").abs_(self)

    def __matmul__(self: Any, other: Any) -> Any:
        return _operator("matmul", "matmul", self, other)

    def __rmatmul__(self: Any, other: Any) -> Any:
        return _operator("matmul", "matmul", other, self)

    def __eq__(self: Any, other: object) -> Any:
        return _compared("eq", self, other)

    def __ne__(self: Any, other: object) -> Any:
        return _compared("ne", self, other)

    def __lt__(self: Any, other: Any) -> Any:
        return _compared("lt", self, other)

    def __le__(self: Any, other: Any) -> Any:
        return _compared("le", self, other)

    def __gt__(self: Any, other: Any) -> Any:
        return _compared("gt", self, other)

    def __ge__(self: Any, other: Any) -> Any:
        return _compared("ge", self, other)

    def __and__(self: Any, other: Any) -> Any:
        return _joined("and", self, other)

    __rand__ = __and__

    def __or__(self: Any, other: Any) -> Any:
        return _joined("or", self, other)

    __ror__ = __or__

    def __xor__(self: Any, other: Any) -> Any:
        return _joined("xor", self, other)

    __rxor__ = __xor__

    def __invert__(self: Any) -> Tensor:
        return ops("compare").bitwise_not(self)

    def __bool__(self: Any) -> bool:
        if self.numel() != 1:
            raise UsageError(
                f"bool(): the truth of a tensor with {self.numel()} elements is ambiguous (shape {self.shape}); "
                "use .all(), .any(), or `is not None`."
            )
        return bool(self.item())

    def __float__(self: Any) -> float:
        return float(self.item())

    def __int__(self: Any) -> int:
        return int(self.item())

    def __index__(self: Any) -> int:
        if self.dtype.kind in FLOATING:
            raise UsageError(f"expected an integer tensor as an index; got {self.dtype}.")
        return int(self.item())

    def __format__(self: Any, spec: str) -> str:
        return format(self.item(), spec) if spec and not self.ndim else object.__format__(self, spec)

    # -- functions of one element ----------------------------------------------------------

    def exp(self: Any) -> Tensor:
        """e to the power of each element."""
        return ops("unary").exp(self)

    def expm1(self: Any) -> Tensor:
        """exp(x) - 1."""
        return ops("unary").expm1(self)

    def log(self: Any) -> Tensor:
        """Natural logarithm."""
        return ops("unary").log(self)

    def log1p(self: Any) -> Tensor:
        """log(1 + x)."""
        return ops("unary").log1p(self)

    def sqrt(self: Any) -> Tensor:
        """Square root."""
        return ops("unary").sqrt(self)

    def rsqrt(self: Any) -> Tensor:
        """1 / sqrt(x)."""
        return ops("unary").rsqrt(self)

    def reciprocal(self: Any) -> Tensor:
        """1 / x."""
        return ops("unary").reciprocal(self)

    def square(self: Any) -> Tensor:
        """x * x."""
        return ops("unary").square(self)

    def sin(self: Any) -> Tensor:
        """Sine."""
        return ops("unary").sin(self)

    def cos(self: Any) -> Tensor:
        """Cosine."""
        return ops("unary").cos(self)

    def abs(self: Any) -> Tensor:
        """Absolute value."""
        return ops("unary").abs_(self)

    def sign(self: Any) -> Tensor:
        """-1, 0 or 1."""
        return ops("unary").sign(self)

    def floor(self: Any) -> Tensor:
        """Largest integer not above each element."""
        return ops("unary").floor(self)

    def ceil(self: Any) -> Tensor:
        """Smallest integer not below each element."""
        return ops("unary").ceil(self)

    def round(self: Any, *, decimals: int = 0) -> Tensor:
        """Nearest integer, or multiple of 10^-decimals; ties go to the even one."""
        return ops("unary").round_(self, decimals=decimals)

    def neg(self: Any) -> Tensor:
        """-x."""
        return ops("mul").neg(self)

    def erf(self: Any) -> Tensor:
        """The error function."""
        return ops("erf").erf(self)

    def sigmoid(self: Any) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops("sigmoid").sigmoid(self)

    def tanh(self: Any) -> Tensor:
        """Hyperbolic tangent."""
        return ops("tanh").tanh(self)

    def relu(self: Any) -> Tensor:
        """max(x, 0)."""
        return ops("relu").relu(self)

    def softmax(self: Any, dim: Any, dtype: Any = None) -> Tensor:
        """exp(x) divided by its sum along ``dim``, in ``dtype`` if that is given."""
        return ops("softmax").softmax(self, dim, dtype)

    def log_softmax(self: Any, dim: Any, dtype: Any = None) -> Tensor:
        """The logarithm of :meth:`softmax`."""
        return ops("log_softmax").log_softmax(self, dim, dtype)

    def isnan(self: Any) -> Tensor:
        """Where elements are NaN."""
        return ops("compare").isnan(self)

    def isinf(self: Any) -> Tensor:
        """Where elements are infinite."""
        return ops("compare").isinf(self)

    def isfinite(self: Any) -> Tensor:
        """Where elements are neither NaN nor infinite."""
        return ops("compare").isfinite(self)

    def logical_not(self: Any) -> Tensor:
        """Where elements are 0."""
        return ops("compare").logical_not(self)

    def logical_and(self: Any, other: Any) -> Tensor:
        """Where neither element is 0."""
        return ops("compare").logical_and(self, other)

    def logical_or(self: Any, other: Any) -> Tensor:
        """Where one of both elements is not 0."""
        return ops("compare").logical_or(self, other)

    def logical_xor(self: Any, other: Any) -> Tensor:
        """Where one of both elements is 0 and the other is not."""
        return ops("compare").logical_xor(self, other)

    def bitwise_not(self: Any) -> Tensor:
        """``~x``: not x for bools, inverted bits for integers."""
        return ops("compare").bitwise_not(self)

    def bitwise_and(self: Any, other: Any) -> Tensor:
        """x & other."""
        return ops("compare").bitwise_and(self, other)

    def bitwise_or(self: Any, other: Any) -> Tensor:
        """x | other."""
        return ops("compare").bitwise_or(self, other)

    def bitwise_xor(self: Any, other: Any) -> Tensor:
        """x ^ other."""
        return ops("compare").bitwise_xor(self, other)

    def clamp(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """Elements limited to [min, max]; bounds are numbers or tensors."""
        return ops("clamp").clamp(self, min, max)

    clip = clamp

    def clone(self: Any) -> Tensor:
        """A copy, on the tape."""
        return ops("clone").clone(self)

    # -- functions of two tensors ----------------------------------------------------------

    def add(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """x + alpha * other."""
        return ops("add").add(self, other, alpha=alpha)

    def sub(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """x - alpha * other."""
        return ops("add").sub(self, other, alpha=alpha)

    def mul(self: Any, other: Any) -> Tensor:
        """x * other."""
        return ops("mul").mul(self, other)

    def div(self: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """x / other; ``rounding_mode`` "trunc" rounds towards 0, "floor" down."""
        return ops("div").div(self, other, rounding_mode=rounding_mode)

    def floor_divide(self: Any, other: Any) -> Tensor:
        """x // other."""
        return ops("div").floor_divide(self, other)

    def remainder(self: Any, other: Any) -> Tensor:
        """x % other."""
        return ops("div").remainder(self, other)

    def pow(self: Any, exponent: Any) -> Tensor:
        """x ** exponent."""
        return ops("pow").pow_(self, exponent)

    def maximum(self: Any, other: Tensor) -> Tensor:
        """The larger of both, element by element."""
        return ops("maximum").maximum(self, other)

    def minimum(self: Any, other: Tensor) -> Tensor:
        """The smaller of both, element by element."""
        return ops("maximum").minimum(self, other)

    def matmul(self: Any, other: Tensor) -> Tensor:
        """The matrix product."""
        return ops("matmul").matmul(self, other)

    def mm(self: Any, other: Tensor) -> Tensor:
        """The product of two matrices."""
        return ops("matmul").mm(self, other)

    def bmm(self: Any, other: Tensor) -> Tensor:
        """The products of two batches of matrices."""
        return ops("matmul").bmm(self, other)

    def eq(self: Any, other: Any) -> Tensor:
        """Where x == other."""
        return ops("compare").compare("eq", self, other)

    def ne(self: Any, other: Any) -> Tensor:
        """Where x != other."""
        return ops("compare").compare("ne", self, other)

    def lt(self: Any, other: Any) -> Tensor:
        """Where x < other."""
        return ops("compare").compare("lt", self, other)

    def le(self: Any, other: Any) -> Tensor:
        """Where x <= other."""
        return ops("compare").compare("le", self, other)

    def gt(self: Any, other: Any) -> Tensor:
        """Where x > other."""
        return ops("compare").compare("gt", self, other)

    def ge(self: Any, other: Any) -> Tensor:
        """Where x >= other."""
        return ops("compare").compare("ge", self, other)

    def equal(self: Any, other: Tensor) -> bool:
        """Whether both have the same shape and elements."""
        return bool(ops("compare").equal(self, other))
