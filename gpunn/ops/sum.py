"""Sums and means over axes (``kernels/reduce.cu``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical, physical_axes, physical_shape
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.cpu.sums import sum_on_cpu
from gpunn.errors import DTypeError, here
from gpunn.gpu.broadcast import launch_repeat
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.binary import in_shape
from gpunn.ops.cast import cast
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
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
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
