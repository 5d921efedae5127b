"""A product of two inputs: linear in each."""

from __future__ import annotations

from gpunn._autocast import casting
from gpunn._device import device_of
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.ops.matmul import matmul


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_k = sum over i and j of input1_i weight_kij input2_j, plus the bias.

    Parameters
    ----------
    input1 : Tensor, (*, I)
        float32 or float64.
    input2 : Tensor, (*, J)
        With the same axes before the last.
    weight : Tensor, (K, I, J)
    bias : Tensor, (K,), optional

    Returns
    -------
    Tensor, (*, K)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If they do not go together.

    Examples
    --------
    >>> import gpunn
    >>> a, b = gpunn.tensor([1.0, 2.0]), gpunn.tensor([3.0, 4.0])
    >>> gpunn.nn.functional.bilinear(a, b, gpunn.eye(2).reshape(1, 2, 2)).tolist()
    [11.0]

    References
    ----------
    Tenenbaum, Freeman 2000, "Separating style and content with bilinear models".
    """
    if casting.applies("bilinear", input1):
        input1, input2, weight, bias = casting.inputs("bilinear", input1, input2, weight, bias)
        with casting.paused():
            return bilinear(input1, input2, weight, bias)
    op = "bilinear"
    tensors = [t for t in (input1, input2, weight, bias) if t is not None]
    device_of(op, tensors)
    if weight.ndim != 3:
        raise ShapeError(f"{here(op)}: expected weight (K, I, J); got {weight.shape}.")
    k, i, j = weight.shape
    if not input1.ndim or input1.shape[-1] != i or input2.shape != (*input1.shape[:-1], j):
        raise ShapeError(
            f"{here(op)}: expected input1 (*, {i}) and input2 (*, {j}), with the same axes before the last, to match "
            f"weight {weight.shape}; got {input1.shape} and {input2.shape}."
        )
    if bias is not None and bias.shape != (k,):
        raise ShapeError(f"{here(op)}: expected a bias of shape {(k,)}; got {bias.shape}.")
    if input1.dtype.kind not in FLOATING or any(t.dtype != input1.dtype for t in tensors):
        came = ", ".join(str(t.dtype) for t in tensors)
        raise DTypeError(f"{here(op)}: expected one floating dtype; got {came}. Convert with .float() or .to(dtype).")
    # All weights with the first input in one product: (*, K, J), then each of its rows with the second.
    rows = matmul(input1.reshape(-1, i), weight.permute(1, 0, 2).reshape(i, k * j)).reshape(-1, k, j)
    y = matmul(rows, input2.reshape(-1, j, 1)).reshape(*input1.shape[:-1], k)
    return y if bias is None else y + bias
