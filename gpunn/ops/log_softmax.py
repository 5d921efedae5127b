"""The logarithm of the softmax along an axis (``kernels/softmax.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._rows import axis_in, stored
from gpunn._tensor import Tensor
from gpunn.cpu.activations import scratch
from gpunn.cpu.along_axis import in_blocks_along, on_rows, row_maxima, row_sums
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.along_axis import launch_along
from gpunn.ops.softmax import SOURCE, softmax_axis, sum_along
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",))
def log_softmax_forward(xp: Any, x: Any, axis: int) -> Any:
    """y = x - log(sum(exp(x))) along ``axis``, with the maximum subtracted first."""
    return _forward(xp, x, axis)


def _forward(xp: Any, x: Any, axis: int) -> Any:
    if x.size == 0:
        return x.copy()
    with quiet():  # infinite scores give NaN, as everywhere
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - xp.log(sum_along(xp, xp.exp(shifted), axis))


@log_softmax_forward.numpy
def _(x: np.ndarray, axis: int) -> np.ndarray:
    if axis != x.ndim - 1 or x.size == 0:
        return in_blocks_along(lambda a, k: _forward(np, a, k), axis, x)

    def work(y: np.ndarray, x: np.ndarray) -> None:
        np.subtract(x, row_maxima(x), out=y)
        y -= np.log(row_sums(np.exp(y, out=scratch(y))))

    return on_rows(work, x)


@log_softmax_forward.kernel
def _(device: Device, x: Any, axis: int) -> Any:
    y = device.empty(x.shape, x.dtype)
    launch_along(SOURCE, "log_softmax_forward", device, axis, (y, x))
    return y


def _backward(xp: Any, dy: Any, y: Any, axis: int) -> Any:
    return dy - xp.exp(y) * sum_along(xp, dy, axis)


@primitive(returns=("dx",))
def log_softmax_backward(xp: Any, dy: Any, y: Any, axis: int) -> Any:
    """dx_i = dy_i - exp(y_i) sum_j dy_j."""
    return _backward(xp, dy, y, axis)


@log_softmax_backward.numpy
def _(dy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    if axis != y.ndim - 1 or y.size == 0:
        return in_blocks_along(lambda d, a, k: _backward(np, d, a, k), axis, dy, y)

    def work(dx: np.ndarray, dy: np.ndarray, y: np.ndarray) -> None:
        np.exp(y, out=dx)
        dx *= row_sums(dy)
        np.subtract(dy, dx, out=dx)

    return on_rows(work, dy, y)


@log_softmax_backward.kernel
def _(device: Device, dy: Any, y: Any, axis: int) -> Any:
    dx = device.empty(y.shape, y.dtype)
    launch_along(SOURCE, "log_softmax_backward", device, axis, (dx, dy, y))
    return dx


def log_softmax(x: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """x - log(sum(exp(x))) along one axis: the logarithm of :func:`softmax` without its underflow.

    Parameters
    ----------
    x : Tensor
        Scores of any shape, float32 or float64; ±1e4 is exact.
    dim : int
        The axis; must be given.
    dtype : dtype, optional
        Convert to it first.

    Returns
    -------
    Tensor
        Like x. A score of -inf gives -inf. A row with NaN or +inf, or of -inf alone, is NaN.

    Raises
    ------
    UsageError
        If dim is not given, or x has no such axis.
    DTypeError
        If x is not floating.

    References
    ----------
    Lecture topic L2.
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("log_softmax", x)
    if dtype is not None:
        x = x.to(dtype=dtype)
    axis, device, shape, (array, rows) = softmax_axis("log_softmax", x, dim), x.device, x.shape, stored(x)
    axis = axis_in(rows, axis)
    y = log_softmax_forward(device, array if shape else array.reshape(1), axis)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dx = log_softmax_backward(device, dy if shape else dy.reshape(1), y, axis)
        return (dx if shape else dx.reshape(()),)

    return record("log_softmax", y if shape else y.reshape(()), device, (x,), backward, keeps=True, rows=rows)
