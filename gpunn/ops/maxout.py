"""Maxout: the largest of each k pieces (``kernels/maxout.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import physical_axes
from gpunn._shared.activations import check_floating
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.cpu import maxout as fast
from gpunn.cpu.elementwise import quiet
from gpunn.errors import ShapeError, UsageError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, divisor_struct, vector_width
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("maxout.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256
_MOST_PIECES = 256  # the winner's number is kept in a byte


@primitive(returns=("y", "winner"))
def maxout_forward(xp: Any, x: Any) -> tuple[Any, Any]:
    """y[o, j] = max over i of x[o, i, j]; winner, uint8, is the first such i. The first NaN beats everything.

    x (outer, k, inner);  y, winner (outer, inner)
    """
    best = x[:, 0].copy()
    winner = xp.zeros(best.shape, np.uint8)
    with quiet():
        for i in range(1, x.shape[1]):
            u = x[:, i]
            wins = (u > best) | ((u != u) & (best == best))
            best = xp.where(wins, u, best)
            winner = xp.where(wins, np.uint8(i), winner)
    return best, winner


@maxout_forward.numpy
def _(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return fast.maxout_forward(x, maxout_forward.plain)


@maxout_forward.kernel
def _(device: Device, x: Any) -> tuple[Any, Any]:
    outer, k, inner = x.shape
    y, winner = device.empty((outer, inner), x.dtype), device.empty((outer, inner), np.uint8)
    vec = vector_width(inner, x, y, winner)
    count = y.size // vec
    args = (y, winner, x, divisor_struct(inner // vec), k, inner, count)
    _launch(device, "maxout_forward", count, args, vec, x.dtype)
    return y, winner


def _launch(device: Device, kernel: str, count: int, args: tuple[Any, ...], vec: int, dtype: Any) -> None:
    SOURCE.launch(device, kernel, (ceil_div(count, _BLOCK), 1, 1), _BLOCK, args, REAL=c_type(dtype, kernel), VEC=vec)


@primitive(returns=("dx",))
def maxout_backward(xp: Any, dy: Any, winner: Any, k: int) -> Any:
    """dx[o, i, j] = dy[o, j] where i won, else 0.  dx (outer, k, inner)."""
    piece = xp.arange(k)[:, None]
    return xp.where(winner[:, None] == piece, dy[:, None], dy.dtype.type(0))


maxout_backward.numpy(fast.maxout_backward)


@maxout_backward.kernel
def _(device: Device, dy: Any, winner: Any, k: int) -> Any:
    outer, inner = dy.shape
    dx = device.empty((outer, k, inner), dy.dtype)
    vec = vector_width(dx.size, dx)
    args = (dx, dy, winner, divisor_struct(inner), divisor_struct(k), inner, k, dx.size)
    _launch(device, "maxout_backward", dx.size // vec, args, vec, dy.dtype)
    return dx


def maxout(x: Tensor, k: int, dim: int = -1) -> Tensor:
    """The largest of every k neighbours along an axis, which becomes k times shorter.

    A layer that computes k numbers for each unit (a Linear with k times the outputs, say), followed by this,
    is a maxout layer: each unit's activation is the largest of k linear pieces.

    Parameters
    ----------
    x : Tensor
        float32 or float64.
    k : int
        How many pieces a unit has, 1 to 256: elements 0 to k - 1 of the axis belong to the first unit.
    dim : int
        The axis; 1 for the channels of images.

    Returns
    -------
    Tensor
        Like x, but with the length of axis ``dim`` divided by k. Of equal pieces the first gets the gradient; NaN wins.

    Raises
    ------
    ShapeError
        If k does not divide the length of the axis.
    UsageError
        If k is not a whole number from 1 to 256, or x has no axis ``dim``.
    DTypeError
        If x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> maxout(gpunn.tensor([[1.0, 5.0, 2.0, -3.0]]), 2).tolist()
    [[5.0, 2.0]]

    References
    ----------
    Goodfellow, Warde-Farley, Mirza, Courville, Bengio 2013, arXiv:1302.4389; lecture topic L4.
    """
    check_floating("maxout", x)
    k = as_int(k, k)
    if type(k) is not int or not 1 <= k <= _MOST_PIECES:
        raise UsageError(f"{here('maxout')}: k: expected a whole number from 1 to {_MOST_PIECES}; got {k!r}.")
    if not -x.ndim <= dim < x.ndim:
        raise UsageError(f"{here('maxout')}: dim: shape {x.shape} has no axis {dim}.")
    axis = dim % x.ndim
    if x.shape[axis] % k:
        raise ShapeError(
            f"{here('maxout')}: expected a length that {k} divides along axis {axis}; got shape {x.shape}. "
            "The layer before it has k outputs for each unit."
        )
    device, source = x.device, x._physical
    shape = source.shape
    (place,) = physical_axes((axis,), x.ndim)
    units, inner = shape[place] // k, math.prod(shape[place + 1 :])
    y, winner = maxout_forward(device, source.reshape(math.prod(shape[:place]) * units, k, inner))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (maxout_backward(device, dy.reshape(winner.shape), winner, k).reshape(shape),)

    return record("maxout", y.reshape(*shape[:place], units, *shape[place + 1 :]), device, (x,), backward)
