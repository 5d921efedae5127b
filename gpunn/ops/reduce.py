"""Sums, means and argmax over axes (plain bodies)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._layout import physical
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, where
from gpunn.primitive import primitive
from gpunn.tape import record


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    return [
        {"x": x, "axes": a, "keepdims": k, "factor": f}
        for a in ((0,), (1, 3), (0, 1, 2, 3))
        for k, f in ((True, 1.0), (False, 0.5))
    ]


@primitive(examples=_examples, returns=("y",))
def sum_axes(xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool, factor: float) -> Any:
    """factor * sum of a logical array over ``axes``; the result is physical."""
    y = xp.asarray(x.sum(axis=axes, keepdims=keepdims))
    if factor != 1.0:
        y *= y.dtype.type(factor)
    return physical(y)


def _spread_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": rng.standard_normal((2, 1, 4)).astype(np.float32), "shape": (2, 3, 4), "factor": 0.5}]


@primitive(examples=_spread_examples, returns=("dx",))
def spread(xp: Any, dy: Any, shape: tuple[int, ...], factor: float) -> Any:
    """factor * dy repeated to a logical ``shape``; the result is physical."""
    return physical(xp.broadcast_to(dy * dy.dtype.type(factor), shape))


def _axes(op: str, x: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    if dim is None:
        return tuple(range(x.ndim))
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if any(not -x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) != len(axes):
        raise UsageError(f"{where(op)}: axes {dim} do not exist once each in shape {x.shape}.")
    return tuple(a % x.ndim for a in axes)


def _reduce(op: str, x: Tensor, dim: int | Sequence[int] | None, keepdim: bool, average: bool) -> Tensor:
    axes, device, shape = _axes(op, x, dim), x.device, x.shape
    if average and x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    factor = 1.0 / max(math.prod(shape[a] for a in axes), 1) if average else 1.0
    y = sum_axes(device, x.array, axes, keepdim, factor)
    kept = tuple(1 if a in axes else n for a, n in enumerate(shape))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        logical_dy = dy.transpose(0, 3, 1, 2) if dy.ndim == 4 else dy
        return (spread(device, logical_dy.reshape(kept), shape, factor),)

    return record(op, y, device, (x,), backward)


def sum_(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Sum over ``dim`` (all axes if None)."""
    return _reduce("sum", x, dim, keepdim, average=False)


def mean(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Mean over ``dim`` (all axes if None); floating dtypes."""
    return _reduce("mean", x, dim, keepdim, average=True)


def _argmax_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": rng.integers(0, 5, (4, 6)).astype(np.float32), "axis": a} for a in (0, 1, None)]


@primitive(examples=_argmax_examples, returns=("index",))
def argmax_axis(xp: Any, x: Any, axis: int | None) -> Any:
    """Index of the first maximum along ``axis`` of a logical array, int64."""
    return xp.asarray(x.argmax(axis=axis)).astype(np.int64)


def argmax(x: Tensor, dim: int | None = None) -> Tensor:
    """Index of the first largest element along ``dim``, int64; of the flattened tensor if None."""
    axis = None if dim is None else _axes("argmax", x, dim)[0]
    return Tensor._of_physical(physical(argmax_axis(x.device, x.array, axis)), x.device)
