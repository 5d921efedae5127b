"""Squared error (``kernels/elementwise_loss.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.losses import both, check_reduction, divisor_of, meeting_pair, reduction_of, total, weighted
from gpunn._tensor import Tensor
from gpunn.cpu.losses import gradient_in_blocks, share, total_in_blocks
from gpunn.gpu.elementwise_loss import Two, launch_gradients, launch_loss
from gpunn.primitive import primitive
from gpunn.tape import record

_OP = "mse_loss"


@primitive(returns=("loss",))
def mse_loss_forward(xp: Any, x: Any, target: Any, divisor: float | None) -> Any:
    """(x - target)^2, or with a divisor their sum / divisor."""
    return total(xp, _terms(x, target), divisor, x.dtype)


def _terms(x: Any, target: Any) -> Any:
    difference = x - target
    return difference * difference


@mse_loss_forward.numpy
def _(x: np.ndarray, target: np.ndarray, divisor: float | None) -> np.ndarray:
    return total_in_blocks(_terms, divisor, x, target)


@mse_loss_forward.kernel
def _(device: Device, x: Any, target: Any, divisor: float | None) -> Any:
    return launch_loss(device, "SQUARED", x, target, divisor)


def _gradient(dy: Any, x: Any, target: Any) -> Any:
    return (x - target) * (dy + dy)


@primitive(returns=("dx", "dtarget"))
def mse_loss_backward(xp: Any, dy: Any, x: Any, target: Any, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    """dx = 2 (x - target) dy / divisor, dtarget = -dx; without a divisor dy has x's shape, else it is one number."""
    return both(xp, _gradient(share(dy, divisor), x, target), needs, x.dtype)


@mse_loss_backward.numpy
def _(dy: np.ndarray, x: np.ndarray, target: np.ndarray, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    return both(np, gradient_in_blocks(_gradient, dy, divisor, x, target), needs, x.dtype)


@mse_loss_backward.kernel
def _(device: Device, dy: Any, x: Any, target: Any, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    return launch_gradients(device, "SQUARED", dy, x, target, divisor, needs)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error (input - target)², averaged or summed.

    Parameters
    ----------
    input : Tensor
        Any shape, float32 or float64.
    target : Tensor
        Like input; of another dtype, both are converted to the one that holds them. Gets a gradient too if it requires
        one.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : "mean", "sum", "none" or "half_mean"
        The mean over all elements; their sum; one loss for each; or, beyond PyTorch, half the squared
        distance averaged over the N samples of the first axis: 1/(2N) Σ‖input_n - target_n‖².
    weight : Tensor, optional
        Factor on each squared error, like input; the mean is then over the weights. A constant.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like input. The mean over no elements is NaN, their sum 0.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If input and target differ in shape or device (nothing is broadcast), or the reduction is unknown.

    References
    ----------
    Lecture topic L5.

    Examples
    --------
    >>> import gpunn
    >>> z, t = gpunn.tensor([[3.0, 0.0], [0.0, 4.0]]), gpunn.zeros(2, 2)
    >>> [gpunn.nn.functional.mse_loss(z, t, reduction=r).item() for r in ("mean", "sum", "half_mean")]
    [6.25, 25.0, 6.25]
    """
    if casting.on:
        input, target, weight = casting.inputs("mse_loss", input, target, weight)
    reduction = reduction_of(_OP, reduction, size_average, reduce)
    if weight is not None:
        return weighted(_OP, mse_loss(input, target, reduction="none"), weight, reduction, by_weight=True)
    check_reduction(_OP, reduction, ("mean", "sum", "none", "half_mean"))
    input, target = meeting_pair(_OP, input, target)
    if reduction == "half_mean":
        divisor: float | None = 2.0 * (input.shape[0] if input.shape else 1)
    else:
        divisor = divisor_of(_OP, reduction, input.numel())
    device, x, t = input.device, input._physical, target._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return mse_loss_backward(device, dy, x, t, divisor, (needs[0], needs[1]))

    saves = (input, target)
    return record(_OP, mse_loss_forward(device, x, t, divisor), device, saves, backward, saves=saves)
