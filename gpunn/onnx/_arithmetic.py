"""Operators, functions of one element and comparisons in ONNX.

Operands meet in the dtype of PyTorch's rules first, as ONNX converts nothing by itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._promotion import CATEGORIES, category, promoted
from gpunn.onnx._graph import Graph, Value, dtype_code
from gpunn.onnx._table import Arguments, cast, lowers, one_like, operand
from gpunn.ops import unary
from gpunn.ops.add import add, sub
from gpunn.ops.binary import binary
from gpunn.ops.cast import to_device, to_dtype
from gpunn.ops.clamp import clamp
from gpunn.ops.clone import clone
from gpunn.ops.compare import bitwise_not, isfinite, isinf, isnan
from gpunn.ops.div import div
from gpunn.ops.mul import mul, neg
from gpunn.ops.update import update_
from gpunn.ops.where import masked_fill, where

_BOOL = np.dtype(np.bool_)
_NODES = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "maximum": "Max", "minimum": "Min"}
_NODES |= {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal"}
_COMPARING = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))


def meeting(operands: list[Any]) -> np.dtype:
    """The dtype in which tensors and numbers meet, as ``gpunn._promotion`` has it."""
    found: np.dtype | None = None
    kinds = [
        [v.dtype for v in operands if isinstance(v, Value) and v.ndim],
        [v.dtype for v in operands if isinstance(v, Value) and not v.ndim],
        [_of_number(v) for v in operands if not isinstance(v, Value)],
    ]
    for dtypes in kinds:
        if not dtypes:
            continue
        own = dtypes[0]
        for dtype in dtypes[1:]:
            own = promoted(own, dtype)
        if found is None or CATEGORIES[own.kind] > CATEGORIES[found.kind]:
            found = own
    assert found is not None
    return found


def _of_number(value: Any) -> np.dtype:
    return np.dtype((np.bool_, np.int64, np.float32)[category(value) or 0])


def applied(g: Graph, op: str, a: Any, b: Any, result: np.dtype) -> str:
    """The operator ``op`` of ``gpunn.ops.binary`` on tensors or numbers."""
    dtype = meeting([a, b]) if op in _COMPARING else result
    first, second = operand(g, a, dtype), operand(g, b, dtype)
    if op in ("and", "or", "xor"):
        name = op.capitalize() if dtype == _BOOL else f"Bitwise{op.capitalize()}"
        return g.node(name, [first, second])
    if op == "ne":
        return g.node("Not", [g.node("Equal", [first, second])])
    if op in ("floordiv", "remainder"):
        return _divided(g, op, first, second, dtype)
    if dtype == _BOOL and op in _NODES and op not in _COMPARING:  # of bools: or, and
        of_bools = {"add": "Or", "mul": "And", "maximum": "Or", "minimum": "And"}
        if op not in of_bools:
            raise g.refuse(f"{op} of bools; expected numbers.")
        return g.node(of_bools[op], [first, second])
    if dtype == _BOOL and op != "eq":
        small = np.dtype(np.int32)
        first, second = (g.node("Cast", [name], to=dtype_code(small)) for name in (first, second))
    return g.node(_NODES[op], [first, second])


def _divided(g: Graph, op: str, a: str, b: str, dtype: np.dtype) -> str:
    """The quotient rounded down, and what is left, which has the divisor's sign."""
    if dtype.kind != "f":
        rest = g.node("Mod", [a, b])
        return rest if op == "remainder" else g.node("Div", [g.node("Sub", [a, rest]), b])
    zero = g.constant(np.zeros((), dtype))
    rest = g.node("Mod", [a, b], fmod=1)  # with the dividend's sign
    other = g.node("Xor", [g.node("Less", [rest, zero]), g.node("Less", [b, zero])])
    turned = g.node("And", [other, g.node("Not", [g.node("Equal", [rest, zero])])])
    rest = g.node("Where", [turned, g.node("Add", [rest, b]), rest])
    if op == "remainder":
        return rest
    return g.node("Round", [g.node("Div", [g.node("Sub", [a, rest]), b])])


@lowers(binary)
def _binary(g: Graph, a: Arguments) -> str:
    return applied(g, a.op, a.a, a.b, a.dtype)


@lowers(add, name="add")
def _add(g: Graph, a: Arguments) -> str:
    return _with_alpha(g, "add", a.a, a.b, a.alpha, a.dtype)


@lowers(sub, name="sub")
def _sub(g: Graph, a: Arguments) -> str:
    return _with_alpha(g, "sub", a.a, a.b, a.alpha, a.dtype)


def _with_alpha(g: Graph, op: str, a: Any, b: Any, alpha: Any, dtype: np.dtype) -> str:
    if isinstance(alpha, Value) or alpha != 1:
        b = Value(g.node("Mul", [operand(g, b, dtype), operand(g, alpha, dtype)]), (), dtype)
    return applied(g, op, a, b, dtype)


@lowers(mul, name="mul")
def _mul(g: Graph, a: Arguments) -> str:
    return applied(g, "mul", a.a, a.b, a.dtype)


@lowers(div)
def _div(g: Graph, a: Arguments) -> str:
    if a.rounding_mode == "floor":
        return applied(g, "floordiv", a.a, a.b, a.dtype)
    if a.rounding_mode is None:
        return applied(g, "div", a.a, a.b, a.dtype)
    if a.dtype.kind != "f":  # ONNX's quotient of integers is rounded towards 0
        return applied(g, "div", a.a, a.b, a.dtype)
    quotient = applied(g, "div", a.a, a.b, a.dtype)
    sign, size = g.node("Sign", [quotient]), g.node("Floor", [g.node("Abs", [quotient])])
    return g.node("Mul", [sign, size])


@lowers(neg)
def _neg(g: Graph, a: Arguments) -> str:
    return g.node("Neg", [a.x.name])


@lowers(update_, name="update_")
def _update(g: Graph, a: Arguments) -> str:
    """x.add_(other) and the like: the result has x's dtype."""
    operands = [a.x, a.other]
    dtype = meeting(operands)
    dtype = np.dtype(np.float32) if a.name == "div" and dtype.kind != "f" else dtype
    name = _with_alpha(g, a.name, a.x, a.other, a.alpha, dtype)
    return cast(g, Value(name, a.shape, dtype), a.dtype)


# -- functions of one element -------------------------------------------------------------------------

_UNARY = {
    unary.exp: "Exp",
    unary.log: "Log",
    unary.sqrt: "Sqrt",
    unary.reciprocal: "Reciprocal",
    unary.sin: "Sin",
    unary.cos: "Cos",
    unary.abs_: "Abs",
    unary.sign: "Sign",
    unary.floor: "Floor",
    unary.ceil: "Ceil",
}


def _register(function: Any, node: str) -> None:
    whole = node in ("Floor", "Ceil")  # which ONNX does not have for integers, where they change nothing

    @lowers(function)
    def _(g: Graph, a: Arguments) -> str:
        return a.x.name if whole and a.x.dtype.kind != "f" else g.node(node, [a.x.name])


for _function, _node in _UNARY.items():
    _register(_function, _node)


@lowers(unary.square)
def _square(g: Graph, a: Arguments) -> str:
    return g.node("Mul", [a.x.name, a.x.name])


@lowers(unary.rsqrt)
def _rsqrt(g: Graph, a: Arguments) -> str:
    return g.node("Reciprocal", [g.node("Sqrt", [a.x.name])])


@lowers(unary.expm1)
def _expm1(g: Graph, a: Arguments) -> str:
    """2 sinh(x / 2) exp(x / 2), which is exact also where x is small."""
    half = g.node("Mul", [a.x.name, one_like(g, a.x, 0.5)])
    return g.node("Mul", [g.node("Mul", [g.node("Sinh", [half]), g.node("Exp", [half])]), one_like(g, a.x, 2)])


@lowers(unary.log1p)
def _log1p(g: Graph, a: Arguments) -> str:
    """log(u) x / (u - 1) with u = 1 + x rounded: its error and that of u - 1 cancel (Kahan)."""
    one = one_like(g, a.x, 1)
    u = g.node("Add", [a.x.name, one])
    left = g.node("Sub", [u, one])
    nothing = g.node("Equal", [left, one_like(g, a.x, 0)])
    ratio = g.node("Div", [a.x.name, g.node("Where", [nothing, one, left])])
    infinite = g.node("IsInf", [u])
    ratio = g.node("Where", [infinite, one, ratio])
    return g.node("Where", [nothing, a.x.name, g.node("Mul", [g.node("Log", [u]), ratio])])


@lowers(unary.round_)
def _round(g: Graph, a: Arguments) -> str:
    if a.x.dtype.kind != "f":
        return a.x.name
    if not a.decimals:
        return g.node("Round", [a.x.name])
    factor = 10.0 ** abs(a.decimals)
    there, back = ("Mul", "Div") if a.decimals > 0 else ("Div", "Mul")
    number = one_like(g, a.x, factor)
    return g.node(back, [g.node("Round", [g.node(there, [a.x.name, number])]), number])


@lowers(clamp)
def _clamp(g: Graph, a: Arguments) -> str:
    y = cast(g, a.x, a.dtype)
    for bound, node in ((a.min, "Max"), (a.max, "Min")):
        if bound is not None:
            y = g.node(node, [y, operand(g, bound, a.dtype)])
    return y


# -- dtypes and copies ----------------------------------------------------------------------------------


@lowers(to_dtype)
def _to_dtype(g: Graph, a: Arguments) -> str:
    return cast(g, a.x, a.dtype)


@lowers(to_device, clone)
def _same(g: Graph, a: Arguments) -> str:
    return a.x.name


# -- truth ------------------------------------------------------------------------------------------------


@lowers(isnan)
def _isnan(g: Graph, a: Arguments) -> str:
    return g.node("IsNaN", [_floating(g, a.x)])


@lowers(isinf)
def _isinf(g: Graph, a: Arguments) -> str:
    return g.node("IsInf", [_floating(g, a.x)])


@lowers(isfinite)
def _isfinite(g: Graph, a: Arguments) -> str:
    x = _floating(g, a.x)
    return g.node("Not", [g.node("Or", [g.node("IsNaN", [x]), g.node("IsInf", [x])])])


def _floating(g: Graph, x: Value) -> str:
    return cast(g, x, x.dtype if x.dtype.kind == "f" else np.dtype(np.float32))


@lowers(bitwise_not)
def _not(g: Graph, a: Arguments) -> str:
    return g.node("Not" if a.x.dtype == _BOOL else "BitwiseNot", [a.x.name])


# -- choosing -----------------------------------------------------------------------------------------------


@lowers(where)
def _where(g: Graph, a: Arguments) -> str:
    if a.a is None or a.b is None:
        raise g.refuse("where(condition) alone: how many places it finds depends on the data. Give both choices.")
    return g.node("Where", [a.condition.name, operand(g, a.a, a.dtype), operand(g, a.b, a.dtype)])


@lowers(masked_fill)
def _masked_fill(g: Graph, a: Arguments) -> str:
    value = a.value
    if not isinstance(value, Value) and a.x.dtype.kind == "f":
        value = float(value) if not math.isinf(value) else math.copysign(math.inf, value)
    return g.node("Where", [a.mask.name, operand(g, value, a.dtype), a.x.name])
