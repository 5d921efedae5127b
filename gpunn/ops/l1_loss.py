"""Absolute error (``kernels/elementwise_loss.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.losses import both, divisor_of, meeting_pair, reduction_of, total, weighted
from gpunn._tensor import Tensor
from gpunn.cpu.losses import gradient_in_blocks, share, total_in_blocks
from gpunn.gpu.elementwise_loss import Two, launch_gradients, launch_loss
from gpunn.primitive import primitive
from gpunn.tape import record

_OP = "l1_loss"


@primitive(returns=("loss",))
def l1_loss_forward(xp: Any, x: Any, target: Any, divisor: float | None) -> Any:
    """|x - target|, or with a divisor their sum / divisor."""
    return total(xp, xp.abs(x - target), divisor, x.dtype)


@l1_loss_forward.numpy
def _(x: np.ndarray, target: np.ndarray, divisor: float | None) -> np.ndarray:
    return total_in_blocks(lambda a, b: np.abs(a - b), divisor, x, target)


@l1_loss_forward.kernel
def _(device: Device, x: Any, target: Any, divisor: float | None) -> Any:
    return launch_loss(device, "ABSOLUTE", x, target, divisor)


def _gradient(dy: Any, x: Any, target: Any) -> Any:
    # Not sign(): a comparison with NaN gives 0, as PyTorch's sign does.
    return dy * ((x > target).astype(x.dtype) - (x < target))


@primitive(returns=("dx", "dtarget"))
def l1_loss_backward(xp: Any, dy: Any, x: Any, target: Any, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    """dx = sign(x - target) dy / divisor (0 where they are equal), dtarget = -dx; dy as in mse_loss_backward."""
    return both(xp, _gradient(share(dy, divisor), x, target), needs, x.dtype)


@l1_loss_backward.numpy
def _(dy: np.ndarray, x: np.ndarray, target: np.ndarray, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    return both(np, gradient_in_blocks(_gradient, dy, divisor, x, target), needs, x.dtype)


@l1_loss_backward.kernel
def _(device: Device, dy: Any, x: Any, target: Any, divisor: float | None, needs: Two) -> tuple[Any, Any]:
    return launch_gradients(device, "ABSOLUTE", dy, x, target, divisor, needs)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute error |input - target|, averaged or summed.

    Parameters
    ----------
    input : Tensor
        Any shape, float32 or float64.
    target : Tensor
        Like input; of another dtype, both are converted to the one that holds them. Gets a gradient too if it requires
        one.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : "mean", "sum" or "none"
        The mean over all elements, their sum, or one loss for each.
    weight : Tensor, optional
        Factor on each error, like input; the mean is then over the weights. A constant.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like input. The gradient where they are equal is 0.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If input and target differ in shape or device (nothing is broadcast), or the reduction is unknown.

    References
    ----------
    Lecture topic L5.
    """
    if casting.on:
        input, target, weight = casting.inputs("l1_loss", input, target, weight)
    reduction = reduction_of(_OP, reduction, size_average, reduce)
    if weight is not None:
        return weighted(_OP, l1_loss(input, target, reduction="none"), weight, reduction, by_weight=True)
    return absolute_loss(_OP, input, target, reduction)


def absolute_loss(op: str, input: Tensor, target: Tensor, reduction: str) -> Tensor:
    """The loss of op ``op``: l1_loss, or another whose limit it is."""
    input, target = meeting_pair(op, input, target)
    divisor = divisor_of(op, reduction, input.numel())
    device, x, t = input.device, input._physical, target._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return l1_loss_backward(device, dy, x, t, divisor, (needs[0], needs[1]))

    saves = (input, target)
    return record(op, l1_loss_forward(device, x, t, divisor), device, saves, backward, saves=saves)
