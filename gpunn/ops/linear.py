"""The fully connected layer's op: y = act(x W^T + b), on the matrix product of ``ops.matmul``."""

from __future__ import annotations

import math
from typing import Any

from gpunn._device import same_device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, where
from gpunn.ops.bias import bias_backward
from gpunn.ops.matmul import gemm
from gpunn.tape import record


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
    op = "linear"
    inputs = (x, weight) if bias is None else (x, weight, bias)
    device = same_device(where(op), *(t.device for t in inputs))
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"{where(op)}: expected {weight.shape[-1]} input features to match weight {weight.shape}; got x of "
            f"shape {x.shape}. A missing or extra flatten before this layer is the usual cause."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"{where(op)}: expected a bias of shape {weight.shape[:1]}; got {bias.shape}.")
    if x.dtype.kind != "f" or any(t.dtype != x.dtype for t in inputs):
        raise DTypeError(
            f"{where(op)}: expected one floating dtype; got {', '.join(str(t.dtype) for t in inputs)} "
            "for x, weight, bias. Convert x with .float() or the layer with .to(dtype)."
        )
    if activation not in (None, "relu"):
        raise UsageError(f"{where(op)}: activation: expected None or 'relu'; got {activation!r}.")
    if x.ndim not in (2,):
        flat = linear(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), weight, bias, activation=activation)
        return flat.reshape(*x.shape[:-1], weight.shape[0])
    rows, matrix = x._physical, weight._physical
    relu = activation == "relu"
    y = gemm(device, rows, matrix, "nt", None if bias is None else bias._physical, relu)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dz, dbias = bias_backward(device, dy, y if relu else None, bias is not None and needs[2])
        dx = gemm(device, dz, matrix, "nn") if needs[0] else None
        dweight = gemm(device, dz, rows, "tn") if needs[1] else None
        return (dx, dweight) if bias is None else (dx, dweight, dbias)

    return record(op, y, device, inputs, backward, saves=(x, weight))
