"""Huber's loss: ``delta`` times the smooth L1 loss, on the same primitives."""

from __future__ import annotations

import math

from gpunn._autocast import casting
from gpunn._half import FLOATING
from gpunn._shared.losses import weighted
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.smooth_l1_loss import rounded_loss


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Squared error near 0, absolute error far from it.

    With z = input - target: z² / 2 where |z| < delta, else delta (|z| - delta / 2).

    Parameters
    ----------
    input : Tensor
        Any shape, float32 or float64.
    target : Tensor
        Like input; of another dtype, they are converted to the one that holds both for the computation. Gets a
        gradient too if it requires one.
    reduction : "mean", "sum" or "none"
        The mean over all elements, their sum, or one loss for each.
    delta : float
        Where the quadratic part ends; finite and more than 0.
    weight : Tensor, optional
        Factor on each loss, like input; the mean stays that over the elements. A constant.

    Returns
    -------
    Tensor
        A scalar, or for "none" a tensor like input; of the dtype of a floating input.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If input and target differ in shape or device (nothing is broadcast), or an option is invalid.

    References
    ----------
    Huber 1964, "Robust estimation of a location parameter"; lecture topic L5.
    """
    if casting.on:
        input, target, weight = casting.inputs("huber_loss", input, target, weight)
    if not 0 < delta < math.inf:
        raise UsageError(f"{here('huber_loss')}: delta: expected a finite number of more than 0; got {delta!r}.")
    if weight is not None:
        terms = rounded_loss("huber_loss", input, target, "none", float(delta), float(delta))
        return weighted("huber_loss", terms, weight, reduction, by_weight=False)
    loss = rounded_loss("huber_loss", input, target, reduction, float(delta), float(delta))
    return loss if input.dtype.kind not in FLOATING else loss.to(input.dtype)  # as PyTorch, which here alone does so
