"""The fully connected layer's op, y = act(x W^T + b), and its gradients: products of ``ops.matmul``."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device, device_of
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu import half, tensor
from gpunn.gpu.gemm import launch_gemm, launch_gemm_backward
from gpunn.ops.bias import bias_backward
from gpunn.ops.matmul import gemm
from gpunn.primitive import primitive
from gpunn.tape import record

_Three = tuple[bool, bool, bool]  # whether the gradients of x, weight, bias are wanted


@primitive(returns=("dx", "dweight", "dbias"))
def linear_backward(
    xp: Any, dy: Any, y: Any, x: Any, weight: Any, needs: _Three, more: Any = None
) -> tuple[Any, Any, Any]:
    """The gradients of y = act(x weight^T + bias) that ``needs`` requests, else None; y is None without a ReLU.

    dy, y (N, M), x (N, D), weight (M, D); dbias (M,). more (N, D), unless None, is added to dx.
    """
    dz, dbias = bias_backward.plain(xp, dy, y, needs[2])
    dx = dz @ weight if needs[0] else None
    return dx if more is None else more + dx, dz.T @ x if needs[1] else None, dbias


@linear_backward.numpy
def _(
    dy: np.ndarray,
    y: np.ndarray | None,
    x: np.ndarray,
    weight: np.ndarray,
    needs: _Three,
    more: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    assert bias_backward.numpy_body is not None
    assert gemm.numpy_body is not None
    dz, dbias = bias_backward.numpy_body(dy, y, needs[2])
    dx = gemm.numpy_body(dz, weight, "nn") if needs[0] else None
    if dx is not None and more is not None:
        np.add(more, dx, out=dx)
    return dx, gemm.numpy_body(dz, x, "tn") if needs[1] else None, dbias


@linear_backward.kernel
def _(device: Device, dy: Any, y: Any, x: Any, weight: Any, needs: _Three, more: Any = None) -> tuple[Any, Any, Any]:
    apart = functools.partial(_apart, device, dy, y, x, weight, needs, more)
    if needs[0] and needs[1] and weight.size:
        return launch_gemm_backward(device, dy, y, x, weight, needs[2], more, apart)
    return apart()


def _apart(device: Device, dy: Any, y: Any, x: Any, weight: Any, needs: _Three, more: Any) -> tuple[Any, Any, Any]:
    """The gradients, that of x by a launch of its own."""
    n, m = dy.shape
    dx = dweight = dbias = None
    by_tensor_cores = needs[1] and tensor.takes(device, x.dtype, (m, weight.shape[1], n), dy, x)
    if needs[1] and weight.size and not by_tensor_cores:
        dweight = device.empty(weight.shape, x.dtype)
        dbias = device.empty((m,), x.dtype) if needs[2] else None
        dz = device.empty(dy.shape, x.dtype) if y is not None and needs[0] else None
        # One launch for the gradients of weight and bias, which also writes dz for the next.
        launch_gemm(device, "tn", (m, weight.shape[1], n), (dweight, dbias, dz), (dy, y, x))
        dz = dy if dz is None else dz
    else:
        dweight = device.empty(weight.shape, x.dtype) if needs[1] else None
        dz, dbias = bias_backward(device, dy, y, needs[2])
        if by_tensor_cores:
            launch_gemm(device, "tn", (m, weight.shape[1], n), (dweight, None, None), (dz, None, x))
    if needs[0]:
        dx = device.empty(x.shape, x.dtype)
        launch_gemm(device, "nn", (n, weight.shape[1], m), (dx,), (dz, weight, more))
    return dx, dweight, dbias


@linear_backward.half_kernel
def _(device: Device, dy: Any, y: Any, x: Any, weight: Any, needs: _Three, more: Any = None) -> Any:
    if not half.takes_backward(device, dy, y, x, weight, needs, more):
        return None
    dz, dbias = bias_backward(device, dy, y, needs[2])
    dweight = half.product(device, dz, x, "tn") if needs[1] else None
    return half.product(device, dz, weight, "nn", more) if needs[0] else None, dweight, dbias


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str | None = None) -> Tensor:
    """y = act(x W^T + b).

    Parameters
    ----------
    x : Tensor, (..., D)
        float32 or float64.
    weight : Tensor, (M, D)
    bias : Tensor, (M,), optional
    activation : None or "relu"
        Applied in the same pass.

    Returns
    -------
    Tensor, (..., M)

    Raises
    ------
    ShapeError
        If the last axis of x is not D, or the bias is not (M,).
    DTypeError, DeviceError
        If dtypes or devices differ.

    References
    ----------
    Lecture topic L1.
    """
    if casting.on:
        x, weight, bias = casting.inputs("linear", x, weight, bias)
    op = "linear"
    inputs = (x, weight) if bias is None else (x, weight, bias)
    device = device_of(op, inputs)
    if weight.ndim != 2:
        raise ShapeError(f"{here(op)}: expected a weight (out_features, in_features); got shape {weight.shape}.")
    if x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"{here(op)}: expected {weight.shape[-1]} input features to match weight {weight.shape}; got x of "
            f"shape {x.shape}. A missing or extra flatten before this layer is the usual cause."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"{here(op)}: expected a bias of shape {weight.shape[:1]}; got {bias.shape}.")
    if x.dtype.kind not in FLOATING or any(t.dtype != x.dtype for t in inputs):
        raise DTypeError(
            f"{here(op)}: expected one floating dtype; got {', '.join(str(t.dtype) for t in inputs)} "
            "for x, weight, bias. Convert x with .float() or the layer with .to(dtype)."
        )
    if activation not in (None, "relu"):
        raise UsageError(f"{here(op)}: activation: expected None or 'relu'; got {activation!r}.")
    if x.ndim not in (2,):
        flat = linear(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), weight, bias, activation=activation)
        return flat.reshape(*x.shape[:-1], weight.shape[0])
    rows, matrix = x._physical, weight._physical
    relu = activation == "relu"
    y = gemm(device, rows, matrix, "nt", None if bias is None else bias._physical, relu)
    gate = y if relu else None  # what the closure names stays in memory: y only where it is needed

    def backward(dy: Any, needs: tuple[bool, ...], waiting: Any) -> tuple[Any, ...]:
        wanted = (needs[0], needs[1], bias is not None and needs[2])
        return linear_backward(device, dy, gate, rows, matrix, wanted, waiting)[: len(inputs)]

    return record(op, y, device, inputs, backward, saves=(x, weight), keeps=relu, adds=True)
