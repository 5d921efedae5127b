"""Sums, means and products over axes (``kernels/reduce.cu``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical, physical_axes, physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, where
from gpunn.launcher import c_type, ceil_div
from gpunn.ops._axes import axes_of, kept_shape
from gpunn.ops._blocks import quiet
from gpunn.ops._broadcasting import SPREAD, launch_repeat
from gpunn.ops._reductions import reduce_axes
from gpunn.ops._sums import sum_on_cpu
from gpunn.ops.broadcast import in_shape
from gpunn.ops.convert import cast
from gpunn.primitive import primitive
from gpunn.tape import record


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

    def case(shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any = np.float32) -> dict[str, Any]:
        return {"x": rng.random(shape).astype(dtype), "axes": axes, "keepdims": False, "factor": 1.0}

    made += [case((0, 3), (0,)), case((3, 0), (0,)), case((3, 0), (1,)), case((1, 1), (0, 1)), case((4, 1), (1,))]
    # Rows and columns at the edges of the kernels' blocks and slices.
    made += [case((3, n), (1,)) for n in (1, 2, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 8191, 9001)]
    made += [case((n, 3), (0,)) for n in (1, 2, 31, 33, 255, 256, 257, 3001)]
    made += [case((65, n), (0,)) for n in (4, 31, 127, 128, 129, 132)]
    made += [case((2, 900, 8), (1,)), case((3, 5, 7, 2), (1, 3)), case((9, 40, 8), (0, 2)), case((40, 6), (0,), float)]
    made += [
        {"x": np.arange(n, dtype=t), "axes": (0,), "keepdims": False, "factor": 1.0}
        for n, t in ((6, np.int32), (7, np.int64), (200, np.uint8))
    ]
    return [*made, {"x": rng.random((5, 300)) > 0.5, "axes": (1,), "keepdims": True, "factor": 1.0}]


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


def countable(device: Device, x: Any) -> Any:
    """A contiguous array as reductions take it: floats as they are, all else as int64."""
    return x if x.dtype.kind == "f" or x.dtype == np.int64 else cast(device, x, np.int64)


def left_of(device: Device, kept: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """A physical result with the reduced (logical) axes kept, or without them."""
    if keepdims or not axes:
        return kept
    shape = logical(kept).shape
    return in_shape(device, kept, tuple(n for a, n in enumerate(shape) if a not in axes))


def with_axes(device: Device, dy: Any, kept: tuple[int, ...]) -> Any:
    """The logical view, of shape ``kept``, of a physical gradient that may lack the reduced axes."""
    return logical(in_shape(device, dy, kept))


@sum_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...], keepdims: bool, factor: float) -> Any:
    source = countable(device, physical(x))
    end = "as_it_is" if factor == 1.0 else "scaled"
    y = reduce_axes(device, source, physical_axes(axes, x.ndim), "sum", end=end, number=factor)
    return left_of(device, y, axes, keepdims)


def _spread_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes: tuple[Any, ...] = (((2, 1, 4), (2, 3, 4)), ((2, 4, 1, 3), (2, 4, 5, 3)), ((1, 1), (3, 5)), ((), (4,)))
    made = [
        {"dy": np.asarray(rng.standard_normal(s), np.float32), "shape": to, "factor": f}
        for s, to in shapes
        for f in (0.5, 1.0)
    ]
    return [*made, {"dy": rng.standard_normal((1, 3)), "shape": (0, 3), "factor": 1.0}]


@primitive(examples=_spread_examples, returns=("dx",))
def spread(xp: Any, dy: Any, shape: tuple[int, ...], factor: float) -> Any:
    """factor * dy repeated to a logical ``shape``; the result is physical."""
    with quiet():
        return physical(xp.broadcast_to(dy * dy.dtype.type(factor), shape))


@spread.kernel
def _(device: Device, dy: Any, shape: tuple[int, ...], factor: float) -> Any:
    padded = dy.reshape((1,) * (len(shape) - dy.ndim) + tuple(dy.shape))
    return launch_repeat(device, physical(padded), physical_shape(shape), factor)


def _reduce(op: str, x: Tensor, dim: int | Sequence[int] | None, keepdim: bool, average: bool) -> Tensor:
    axes, device, shape = axes_of(op, x, dim), x.device, x.shape
    if average and x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    count = math.prod(shape[a] for a in axes)
    factor = (1.0 / count if count else math.nan) if average else 1.0
    y = sum_axes(device, x.array, axes, keepdim, factor)
    kept = kept_shape(shape, axes)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (spread(device, with_axes(device, dy, kept), shape, factor),)

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
    made = [{"x": x, "axis": a} for a in (0, 1, 3)] + [{"x": x[0, 0, 0], "axis": 0}, {"x": x[:, :0], "axis": 1}]
    return [*made, {"x": np.array([[3, -2], [5, 7]], np.int32), "axis": 0}, {"x": 1 + rng.random((3, 40)), "axis": 1}]


@primitive(examples=_prod_examples, returns=("y",))
def prod_axis(xp: Any, x: Any, axis: int) -> Any:
    """Product along ``axis`` of a logical array, which is kept; physical."""
    with quiet():
        return physical(x.prod(axis=axis, keepdims=True, dtype=x.dtype if x.dtype.kind == "f" else np.int64))


@prod_axis.kernel
def _(device: Device, x: Any, axis: int) -> Any:
    return reduce_axes(device, countable(device, physical(x)), physical_axes((axis,), x.ndim), "prod")


def _prod_backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x[0, 1, 0] = x[1, 1, 1] = x[1, 2, 1] = 0
    empty = {"dy": np.ones((2, 1)), "x": np.zeros((2, 0)), "axis": 1}
    image = rng.standard_normal((2, 3, 4, 5))
    made = [{"dy": rng.random(image.sum(a, keepdims=True).shape), "x": image, "axis": a} for a in range(4)]
    return [{"dy": np.ones((2, 1, 4), np.float32), "x": x, "axis": 1}, empty, *made]


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


@prod_backward.kernel
def _(device: Device, dy: Any, x: Any, axis: int) -> Any:
    dy, x, (at,) = physical(dy), physical(x), physical_axes((axis,), x.ndim)
    dx = device.empty(x.shape, x.dtype)
    if dx.size:
        sizes = (dy.size, x.shape[at], math.prod(x.shape[at + 1 :]))
        grid = (ceil_div(dy.size, 256), 1, 1)
        SPREAD.launch(device, "prod_backward", grid, 256, (dx, dy, x, *sizes), REAL=c_type(x.dtype, "prod"))
    return dx


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
    y = left_of(device, kept, (axis,), keepdim)
    shape = kept_shape(x.shape, (axis,))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (prod_backward(device, with_axes(device, dy, shape), source, axis),)

    if x.dtype.kind != "f":
        return Tensor._of_physical(y, device)
    return record("prod", y, device, (x,), backward, saves=(x,))
