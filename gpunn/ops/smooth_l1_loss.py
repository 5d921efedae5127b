"""Absolute error with a rounded tip (``kernels/elementwise_loss.cu``); also Huber's loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._shared.losses import both, divisor_of, meeting_pair, reduction_of, total
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.cpu.losses import gradient_in_blocks, share, total_in_blocks
from gpunn.errors import UsageError, here
from gpunn.gpu.elementwise_loss import Two, launch_gradients, launch_loss
from gpunn.ops.l1_loss import absolute_loss
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("loss",))
def smooth_l1_loss_forward(xp: Any, x: Any, target: Any, divisor: float | None, edge: float, slope: float) -> Any:
    """With z = x - target: slope z^2 / (2 edge) where |z| < edge, else slope (|z| - edge / 2).

    With a divisor, their sum / divisor. z is divided by edge / slope: however small or large that is, the quotient is
    no larger than the slope, and neither the square of z nor the inverse of an edge overflows.
    """
    return total(xp, _terms(xp, x, target, edge, slope), divisor, x.dtype)


def _form(dtype: np.dtype, edge: float, slope: float) -> tuple[Any, Any, Any]:
    """Edge, slope, and edge / slope, in the arrays' dtype."""
    with quiet():
        found = (dtype.type(number) for number in (edge, slope, edge / slope))
        return next(found), next(found), next(found)


def _terms(xp: Any, x: Any, target: Any, edge: float, slope: float) -> Any:
    edge, slope, scale = _form(x.dtype, edge, slope)
    with quiet():
        size = xp.abs(x - target)
        half = x.dtype.type(0.5)
        return xp.where(size < edge, half * size * (size / scale), slope * (size - half * edge))


@smooth_l1_loss_forward.numpy
def _(x: np.ndarray, target: np.ndarray, divisor: float | None, edge: float, slope: float) -> np.ndarray:
    return total_in_blocks(lambda a, b: _terms(np, a, b, edge, slope), divisor, x, target)


@smooth_l1_loss_forward.kernel
def _(device: Device, x: Any, target: Any, divisor: float | None, edge: float, slope: float) -> Any:
    return launch_loss(device, "ROUNDED", x, target, divisor, form=_form(x.dtype, edge, slope))


def _gradient(xp: Any, dy: Any, x: Any, target: Any, edge: float, slope: float) -> Any:
    edge, slope, scale = _form(x.dtype, edge, slope)
    with quiet():
        difference = x - target
        return dy * xp.where(xp.abs(difference) < edge, difference / scale, slope * xp.sign(difference))


@primitive(returns=("dx", "dtarget"))
def smooth_l1_loss_backward(
    xp: Any, dy: Any, x: Any, target: Any, divisor: float | None, edge: float, slope: float, needs: Two
) -> tuple[Any, Any]:
    """dx = (slope z / edge where |z| < edge, else slope sign(z)) dy / divisor, dtarget = -dx."""
    return both(xp, _gradient(xp, share(dy, divisor), x, target, edge, slope), needs, x.dtype)


@smooth_l1_loss_backward.numpy
def _(
    dy: np.ndarray, x: np.ndarray, target: np.ndarray, divisor: float | None, edge: float, slope: float, needs: Two
) -> tuple[Any, Any]:
    def formula(d: Any, a: Any, b: Any) -> Any:
        return _gradient(np, d, a, b, edge, slope)

    return both(np, gradient_in_blocks(formula, dy, divisor, x, target), needs, x.dtype)


@smooth_l1_loss_backward.kernel
def _(
    device: Device, dy: Any, x: Any, target: Any, divisor: float | None, edge: float, slope: float, needs: Two
) -> tuple[Any, Any]:
    return launch_gradients(device, "ROUNDED", dy, x, target, divisor, needs, form=_form(x.dtype, edge, slope))


def rounded_loss(op: str, input: Tensor, target: Tensor, reduction: str, edge: float, slope: float) -> Tensor:
    """The loss of op ``op``, which is smooth_l1_loss or huber_loss."""
    input, target = meeting_pair(op, input, target)
    divisor = divisor_of(op, reduction, input.numel())
    device, x, t = input.device, input._physical, target._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return smooth_l1_loss_backward(device, dy, x, t, divisor, edge, slope, (needs[0], needs[1]))

    saves = (input, target)
    loss = smooth_l1_loss_forward(device, x, t, divisor, edge, slope)
    return record(op, loss, device, saves, backward, saves=saves)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Absolute error, quadratic where it is below ``beta``.

    With z = input - target: z² / (2 beta) where |z| < beta, else |z| - beta / 2.

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
    beta : float
        Where the quadratic part ends, at least 0; with 0 it is :func:`l1_loss`.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like input.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If input and target differ in shape or device (nothing is broadcast), or an option is invalid.

    References
    ----------
    Girshick 2015, arXiv:1504.08083; lecture topic L5.
    """
    if casting.on:
        input, target = casting.inputs("smooth_l1_loss", input, target)
    if not beta >= 0:
        raise UsageError(f"{here('smooth_l1_loss')}: beta: expected a number of at least 0; got {beta!r}.")
    reduction = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    if beta == 0:
        return absolute_loss("smooth_l1_loss", input, target, reduction)
    return rounded_loss("smooth_l1_loss", input, target, reduction, float(beta), 1.0)
