"""Softmax along an axis (``kernels/softmax.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import physical_axes
from gpunn._rows import axis_in, stored
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.cpu.along_axis import exponentials, in_blocks_along, on_rows, row_maxima, row_sums
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, UsageError, here
from gpunn.gpu.along_axis import launch_along
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("softmax.cu", REAL=("float", "double"), VEC=(1, 4))


@primitive(returns=("y",))
def softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    """y = exp(x) / sum(exp(x)) along ``axis``, with the maximum subtracted so that exp stays in range."""
    return _forward(xp, x, axis)


def softmax_axis(op: str, x: Tensor, dim: int | None) -> int:
    """The physical axis of ``dim`` in x, after the checks that softmax and its logarithm share."""
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if dim is None:
        raise UsageError(
            f"{here(op)}: dim: expected the axis whose elements are to sum to 1; got None. For scores (N, C) it is 1."
        )
    ndim = max(x.ndim, 1)  # a scalar is a row of one
    axis = as_int(dim)
    if axis is None or not -ndim <= axis < ndim:
        raise UsageError(f"{here(op)}: dim: axis {dim!r} does not exist in shape {x.shape}.")
    return physical_axes((axis % ndim,), x.ndim)[0]


def _forward(xp: Any, x: Any, axis: int) -> Any:
    if x.size == 0:
        return x.copy()
    with quiet():  # infinite scores give NaN, as everywhere
        y = xp.exp(x - x.max(axis=axis, keepdims=True))
        return y / sum_along(xp, y, axis)


@softmax_forward.numpy
def _(x: np.ndarray, axis: int) -> np.ndarray:
    if axis != x.ndim - 1 or x.size == 0:
        return in_blocks_along(lambda a, k: _forward(np, a, k), axis, x)

    def work(y: np.ndarray, x: np.ndarray) -> None:
        sums = exponentials(x, y)
        if sums is None:
            np.subtract(x, row_maxima(x), out=y)
            sums = row_sums(np.exp(y, out=y))
        y *= 1 / sums

    return on_rows(work, x)


@softmax_forward.kernel
def _(device: Device, x: Any, axis: int) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_along(SOURCE, "softmax_forward", device, axis, (y, x))
    return y


def _backward(xp: Any, dy: Any, y: Any, axis: int) -> Any:
    return y * (dy - sum_along(xp, dy * y, axis))


@primitive(returns=("dx",))
def softmax_backward(xp: Any, dy: Any, y: Any, axis: int) -> Any:
    """dx_i = y_i (dy_i - sum_j dy_j y_j): dy times the Jacobian y_i (1 - y_i), -y_i y_j, which is never built."""
    return _backward(xp, dy, y, axis)


@softmax_backward.numpy
def _(dy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    if axis != y.ndim - 1 or y.size == 0:
        return in_blocks_along(lambda d, a, k: _backward(np, d, a, k), axis, dy, y)

    def work(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
        np.subtract(dy, row_sums(dy, y), out=dx)
        dx *= y

    return on_rows(work, dy, y)


@softmax_backward.kernel
def _(device: Device, dy: Any, y: Any, axis: int) -> Any:
    dx = device.empty(y.shape, y.dtype)
    launch_along(SOURCE, "softmax_backward", device, axis, (dx, dy, y))
    return dx


def softmax(x: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along one axis: positive numbers that sum to 1.

    Parameters
    ----------
    x : Tensor
        Scores of any shape, float32 or float64; ±1e4 is fine.
    dim : int
        The axis; must be given (PyTorch's choice by the number of axes is deprecated there).
    dtype : dtype, optional
        Convert to it first.

    Returns
    -------
    Tensor
        Like x. A score of -inf gives 0. A row with NaN or +inf, or of -inf alone, is NaN.

    Raises
    ------
    UsageError
        If dim is not given, or x has no such axis.
    DTypeError
        If x is not floating.

    References
    ----------
    Lecture topic L2.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.softmax(gpunn.tensor([[0.0, 0.0], [1e4, -1e4]]), dim=1)
    tensor([[0.5, 0.5], [1. , 0. ]])
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("softmax", x)
    if dtype is not None:
        x = x.to(dtype=dtype)
    axis, device, shape, (array, rows) = softmax_axis("softmax", x, dim), x.device, x.shape, stored(x)
    axis = axis_in(rows, axis)
    y = softmax_forward(device, array if shape else array.reshape(1), axis)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dx = softmax_backward(device, dy if shape else dy.reshape(1), y, axis)
        return (dx if shape else dx.reshape(()),)

    return record("softmax", y if shape else y.reshape(()), device, (x,), backward, keeps=True, rows=rows)


def sum_along(xp: Any, a: Any, axis: int) -> Any:
    """Sums along ``axis``, kept with length 1, as exact as pairwise sums in the array's own dtype.

    The array libraries add pairwise along the last axis, but one by one along others, hence float64.
    """
    kind = a.dtype if axis == a.ndim - 1 else np.float64
    return a.sum(axis=axis, keepdims=True, dtype=kind).astype(a.dtype, copy=False)
