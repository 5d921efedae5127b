"""Sums, means and products over axes (plain bodies and a CPU path)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._layout import logical, physical
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, where
from gpunn.ops._blocks import quiet
from gpunn.ops._sums import sum_on_cpu
from gpunn.primitive import primitive
from gpunn.tape import record


def axes_of(op: str, x: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes meant by ``dim``, from 0 up; all for None or an empty sequence. A number's axes -1 and 0 are none."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(x.ndim))
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    count = max(x.ndim, 1)
    if any(not -count <= a < count for a in axes) or len({a % count for a in axes}) != len(axes):
        raise UsageError(f"{where(op)}: axes {dim} do not exist once each in shape {x.shape}.")
    return tuple(a % count for a in axes) if x.ndim else ()


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    made = [
        {"x": x, "axes": a, "keepdims": k, "factor": f}
        for a in ((0,), (1, 3), (0, 1, 2, 3))
        for k, f in ((True, 1.0), (False, 0.5))
    ]
    # Large enough for the parts of the CPU path: everything, leading, trailing and mixed axes, and an axis of 1.
    large = rng.random((30, 50, 1, 40)).astype(np.float32)
    every: tuple[Any, ...] = ((0,), (0, 1), (3,), (1, 2, 3), (0, 3), (1,), (2,), (0, 1, 2, 3))
    made += [{"x": large, "axes": a, "keepdims": False, "factor": 1.0} for a in every]
    made += [{"x": large.astype(np.float64), "axes": (0, 1), "keepdims": True, "factor": 0.1}]
    made += [{"x": np.zeros((0, 3), np.float32), "axes": (0,), "keepdims": False, "factor": 1.0}]
    return [*made, {"x": np.arange(6, dtype=np.int32), "axes": (0,), "keepdims": False, "factor": 1.0}]


@primitive(examples=_examples, returns=("y",))
def sum_axes(xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool, factor: float) -> Any:
    """factor * sum of a logical array over ``axes``; the result is physical. Integers are added in int64.

    Added in float64, so that the error does not grow with the number of elements.
    """
    y = x.sum(axis=axes, keepdims=keepdims, dtype=np.float64 if x.dtype.kind == "f" else np.int64)
    y = xp.asarray(y * factor if factor != 1.0 else y)
    return physical(y.astype(x.dtype) if x.dtype.kind == "f" else y)


@sum_axes.numpy
def _(x: np.ndarray, axes: tuple[int, ...], keepdims: bool, factor: float) -> np.ndarray:
    y = sum_on_cpu(x, axes)
    if factor != 1.0:
        with quiet():
            y = np.asarray(y * y.dtype.type(factor))
    return physical(y.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else y)


def _spread_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": rng.standard_normal((2, 1, 4)).astype(np.float32), "shape": (2, 3, 4), "factor": 0.5}]


@primitive(examples=_spread_examples, returns=("dx",))
def spread(xp: Any, dy: Any, shape: tuple[int, ...], factor: float) -> Any:
    """factor * dy repeated to a logical ``shape``; the result is physical."""
    with quiet():
        return physical(xp.broadcast_to(dy * dy.dtype.type(factor), shape))


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with length 1 along ``axes``."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


def _reduce(op: str, x: Tensor, dim: int | Sequence[int] | None, keepdim: bool, average: bool) -> Tensor:
    axes, device, shape = axes_of(op, x, dim), x.device, x.shape
    if average and x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    count = math.prod(shape[a] for a in axes)
    factor = (1.0 / count if count else math.nan) if average else 1.0
    y = sum_axes(device, x.array, axes, keepdim, factor)
    kept = kept_shape(shape, axes)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (spread(device, logical(dy).reshape(kept), shape, factor),)

    if x.dtype.kind != "f":
        return Tensor._of_physical(y, device)
    return record(op, y, device, (x,), backward)


def sum_(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over ``dim``; integers and bools give int64.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    dtype : dtype, optional
        Convert to it first.
    """
    return _reduce("sum", x if dtype is None else x.to(np.dtype(dtype)), dim, keepdim, average=False)


def mean(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over ``dim``; NaN where there is nothing.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    dtype : dtype, optional
        Convert to it first.
    """
    return _reduce("mean", x if dtype is None else x.to(np.dtype(dtype)), dim, keepdim, average=True)


def _prod_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 2)).astype(np.float32)
    return [{"x": x, "axis": a} for a in (0, 1, 3)] + [{"x": x[0, 0, 0], "axis": 0}, {"x": x[:, :0], "axis": 1}]


@primitive(examples=_prod_examples, returns=("y",))
def prod_axis(xp: Any, x: Any, axis: int) -> Any:
    """Product along ``axis`` of a logical array, which is kept; physical."""
    with quiet():
        return physical(x.prod(axis=axis, keepdims=True, dtype=x.dtype if x.dtype.kind == "f" else np.int64))


def _prod_backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x[0, 1, 0] = x[1, 1, 1] = x[1, 2, 1] = 0
    empty = {"dy": np.ones((2, 1)), "x": np.zeros((2, 0)), "axis": 1}
    return [{"dy": np.ones((2, 1, 4), np.float32), "x": x, "axis": 1}, empty]


@primitive(examples=_prod_backward_examples, returns=("dx",))
def prod_backward(xp: Any, dy: Any, x: Any, axis: int) -> Any:
    """dx[i] = dy times the product of all others, right also where elements are 0; logical in, physical out."""
    if x.shape[axis] == 0:
        return physical(xp.zeros_like(x))
    ends = [slice(None)] * x.ndim
    ends[axis] = slice(0, -1)
    one = xp.ones([1 if a == axis else n for a, n in enumerate(x.shape)], x.dtype)
    with quiet():
        before = xp.concatenate([one, xp.cumprod(x, axis=axis)[tuple(ends)]], axis=axis)
        after = xp.concatenate([one, xp.cumprod(xp.flip(x, axis), axis=axis)[tuple(ends)]], axis=axis)
        return physical(dy * before * xp.flip(after, axis))


def prod(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Product of all elements or along an axis; integers give int64.

    Parameters
    ----------
    x : Tensor
    dim : int, optional
        Axis; all elements if None.
    keepdim : bool
        Keep the axis with length 1.
    """
    if dim is None or not x.ndim:
        return prod(x.reshape(-1), 0).reshape((1,) * x.ndim if keepdim else ())
    (axis,) = axes_of("prod", x, dim)
    device, source = x.device, x.array
    kept = prod_axis(device, source, axis)
    y = kept if keepdim else physical(logical(kept).squeeze(axis))
    shape = kept_shape(x.shape, (axis,))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (prod_backward(device, logical(dy).reshape(shape), source, axis),)

    if x.dtype.kind != "f":
        return Tensor._of_physical(y, device)
    return record("prod", y, device, (x,), backward, saves=(x,))
