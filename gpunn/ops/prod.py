"""Products over axes (``kernels/reduce.cu``, ``spread.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import physical, physical_axes
from gpunn._shared.axes import axes_of, kept_shape
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.broadcast import SPREAD
from gpunn.gpu.launcher import c_type, ceil_div
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.sum import countable, left_of, with_axes
from gpunn.primitive import primitive
from gpunn.tape import record


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
