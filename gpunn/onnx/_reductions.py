"""Sums, means, extrema and products in ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.onnx._arithmetic import applied
from gpunn.onnx._graph import Graph, Size, Value
from gpunn.onnx._table import Arguments, axes_of, cast, lowers, one_like
from gpunn.ops.compare import all_, any_
from gpunn.ops.matmul import bmm, matmul, mm
from gpunn.ops.max import amax, amin, argmax, argmin, max_, min_
from gpunn.ops.norm import norm
from gpunn.ops.prod import prod
from gpunn.ops.sum import mean, sum_
from gpunn.ops.var import std, var

_INT64, _INT32, _BOOL = np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.bool_)


def reduced(g: Graph, node: str, x: str, axes: Sequence[int], keepdim: bool) -> str:
    """x after a reduction over ``axes``, which may be none."""
    if not axes:
        return x
    return g.node(node, [x, g.numbers(*axes)], keepdims=int(keepdim))


@lowers(sum_)
def _sum(g: Graph, a: Arguments) -> str:
    return reduced(g, "ReduceSum", cast(g, a.x, a.dtype), axes_of(a.dim, a.x.ndim), a.keepdim)


@lowers(mean)
def _mean(g: Graph, a: Arguments) -> str:
    return reduced(g, "ReduceMean", cast(g, a.x, a.dtype), axes_of(a.dim, a.x.ndim), a.keepdim)


@lowers(prod)
def _prod(g: Graph, a: Arguments) -> str:
    return reduced(g, "ReduceProd", cast(g, a.x, a.dtype), axes_of(a.dim, a.x.ndim), a.keepdim)


@lowers(amax)
def _amax(g: Graph, a: Arguments) -> str:
    return reduced(g, "ReduceMax", a.x.name, axes_of(a.dim, a.x.ndim), a.keepdim)


@lowers(amin)
def _amin(g: Graph, a: Arguments) -> str:
    return reduced(g, "ReduceMin", a.x.name, axes_of(a.dim, a.x.ndim), a.keepdim)


@lowers(max_)
def _max(g: Graph, a: Arguments) -> Sequence[str]:
    return _extremum(g, a, "max")


@lowers(min_)
def _min(g: Graph, a: Arguments) -> Sequence[str]:
    return _extremum(g, a, "min")


def _extremum(g: Graph, a: Arguments, which: str) -> Sequence[str]:
    node = which.capitalize()
    if isinstance(a.dim, Value):
        return [applied(g, f"{which}imum", a.x, a.dim, a.dtype)]
    if a.dim is None:
        return [reduced(g, f"Reduce{node}", a.x.name, range(a.x.ndim), False)]
    if not a.x.ndim:
        return [a.x.name, g.node("Identity", [g.constant(np.zeros((), np.int64))])]
    axis = int(a.dim) % a.x.ndim
    values = reduced(g, f"Reduce{node}", a.x.name, (axis,), a.keepdim)
    return [values, g.node(f"Arg{node}", [a.x.name], axis=axis, keepdims=int(a.keepdim))]


@lowers(argmax)
def _argmax(g: Graph, a: Arguments) -> str:
    return _index_of(g, a, "ArgMax")


@lowers(argmin)
def _argmin(g: Graph, a: Arguments) -> str:
    return _index_of(g, a, "ArgMin")


def _index_of(g: Graph, a: Arguments, node: str) -> str:
    if a.dim is not None and a.x.ndim:
        return g.node(node, [a.x.name], axis=int(a.dim) % a.x.ndim, keepdims=int(a.keepdim))
    flat = g.node("Reshape", [a.x.name, g.numbers(-1)])
    index = g.node(node, [flat], axis=0, keepdims=0)
    return g.node("Reshape", [index, g.numbers(*(1,) * a.x.ndim)]) if a.keepdim else index


@lowers(all_)
def _all(g: Graph, a: Arguments) -> str:
    return _truth(g, a, "ReduceMin")


@lowers(any_)
def _any(g: Graph, a: Arguments) -> str:
    return _truth(g, a, "ReduceMax")


def _truth(g: Graph, a: Arguments, node: str) -> str:
    x = a.x
    zero = one_like(g, x, 0)
    holds = x.name if x.dtype == _BOOL else g.node("Not", [g.node("Equal", [x.name, zero])])
    number = cast(g, Value(holds, x.shape, _BOOL), _INT32)
    return cast(g, Value(reduced(g, node, number, axes_of(a.dim, x.ndim), a.keepdim), (), _INT32), _BOOL)


# -- spread -----------------------------------------------------------------------------------------------


@lowers(var)
def _var(g: Graph, a: Arguments) -> str:
    return _variance(g, a)


@lowers(std)
def _std(g: Graph, a: Arguments) -> str:
    return g.node("Sqrt", [_variance(g, a)])


def _variance(g: Graph, a: Arguments) -> str:
    dim, unbiased = (None, a.dim) if isinstance(a.dim, bool) else (a.dim, a.unbiased)
    correction = a.correction if a.correction is not None else 1 if unbiased is None else int(unbiased)
    axes = axes_of(dim, a.x.ndim)
    centred = g.node("Sub", [a.x.name, reduced(g, "ReduceMean", a.x.name, axes, True)])
    squares = g.node("Mul", [centred, centred])
    if not correction:
        return reduced(g, "ReduceMean", squares, axes, a.keepdim)
    counts = [a.x.shape[axis] for axis in axes]
    if any(isinstance(n, Size) for n in counts):
        count = g.node("ReduceProd", [g.lengths(counts), g.numbers(0)], keepdims=0)
        number = cast(g, Value(count, (), _INT64), a.x.dtype)
    else:
        number = one_like(g, a.x, math.prod(counts))
    number = g.node("Sub", [number, one_like(g, a.x, correction)])
    number = g.node("Max", [number, one_like(g, a.x, 0)])  # too few elements: a division by 0
    return g.node("Div", [reduced(g, "ReduceSum", squares, axes, a.keepdim), number])


@lowers(norm)
def _norm(g: Graph, a: Arguments) -> str:
    x = cast(g, a.x, a.dtype)
    order = 2.0 if a.p is None or a.p == "fro" else float(a.p)
    axes, keep = axes_of(a.dim, a.x.ndim), a.keepdim
    if not axes or order not in (1.0, 2.0):
        x = g.node("Abs", [x])
    if math.isinf(order):
        return reduced(g, "ReduceMax" if order > 0 else "ReduceMin", x, axes, keep)
    if order in (1.0, 2.0):
        return reduced(g, f"ReduceL{int(order)}", x, axes, keep)
    zero = g.constant(np.zeros((), a.dtype))
    if order == 0:
        counted = cast(g, Value(g.node("Greater", [x, zero]), (), _BOOL), a.dtype)
        return reduced(g, "ReduceSum", counted, axes, keep)
    powers = g.node("Pow", [x, g.constant(np.asarray(order, a.dtype))])
    total = reduced(g, "ReduceSum", powers, axes, keep)
    return g.node("Pow", [total, g.constant(np.asarray(1 / order, a.dtype))])


# -- products ---------------------------------------------------------------------------------------------


@lowers(matmul, mm, bmm)
def _matmul(g: Graph, a: Arguments) -> str:
    parts: list[Any] = [cast(g, v, a.dtype) for v in (a.a, a.b)]
    return g.node("MatMul", parts)
