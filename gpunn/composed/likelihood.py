"""Losses of distributions and of margins between classes: functions made of other ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn._autocast import casting
from gpunn._capture_state import watching
from gpunn._creation import full_like
from gpunn._device import same_device
from gpunn._half import FLOATING
from gpunn._shared.losses import check_reduction, reduction_of
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.composed.similarity import pairwise_distance
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.clamp import clamp
from gpunn.ops.compare import compare
from gpunn.ops.gather import gather
from gpunn.ops.logsigmoid import logsigmoid
from gpunn.ops.maximum import minimum
from gpunn.ops.one_hot import one_hot
from gpunn.ops.sum import mean
from gpunn.ops.unary import exp, log, square
from gpunn.ops.where import masked_fill


def _reduced(terms: Tensor, reduction: str) -> Tensor:
    return terms.mean() if reduction == "mean" else terms.sum() if reduction == "sum" else terms


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2: of a target from a Gaussian with mean ``input``.

    Parameters
    ----------
    input : Tensor
        Means, floating.
    target : Tensor
        Broadcasts with the input.
    var : Tensor or float
        Variances, of the input's shape, or without its last axis or with length 1 there.
    full : bool
        Add log(2 pi) / 2, which does not depend on anything.
    eps : float
        The least variance; below it the gradient is that of this variance.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If a variance is negative (which a captured step does not look at), or an option is invalid.
    ShapeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Nix, Weigend 1994, "Estimating the mean and variance of the target probability distribution".
    """
    op = "gaussian_nll_loss"
    check_reduction(op, reduction)
    least = real_number(op, "eps", eps, 0)
    if not isinstance(var, Tensor):
        var = full_like(input, real_number(op, "var", var, 0))
    same_device(op, input.device, target.device, var.device)
    if var.shape != input.shape and var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    if var.ndim > input.ndim or (var.ndim == input.ndim and var.shape[:-1] != input.shape[:-1]):
        raise ShapeError(
            f"{here(op)}: var: expected the input's shape {input.shape}, or 1 or nothing for its last axis; got "
            f"{var.shape}."
        )
    if watching() is None and bool(compare("lt", var.detach(), 0).any()):
        raise UsageError(f"{here(op)}: var: expected no negative variance.")
    # As PyTorch does it: below the limit the gradient is that at the limit.
    limited = var + (clamp(var.detach(), min=least) - var.detach())
    terms = (log(limited) + square(input - target) / limited) * 0.5
    return _reduced(terms + 0.5 * math.log(2 * math.pi) if full else terms, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target input: of a count from a Poisson distribution with mean exp(input).

    Parameters
    ----------
    input : Tensor
        Logarithms of means, floating.
    target : Tensor
        Counts.
    log_input : bool
        With False the input is the mean itself: input - target log(input + eps).
    full : bool
        Add Stirling's approximation of log(target!) where the target is above 1.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    eps : float
        Keeps the logarithm finite.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Of PyTorch; its source names none.
    """
    if casting.on:
        input, target = casting.inputs("poisson_nll_loss", input, target)
    op = "poisson_nll_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    check_reduction(op, reduction)
    same_device(op, input.device, target.device)
    if input.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: input: expected a floating dtype; got {input.dtype}. Convert with .float().")
    if log_input:
        terms = exp(input) - target * input
    else:
        terms = input - target * log(input + real_number(op, "eps", eps, 0))
    if full:
        counts = target.to(input.dtype)
        few = compare("le", counts, 1)
        large = masked_fill(counts, few, 2.0)
        terms = terms + masked_fill(large * log(large) - large + 0.5 * log(2 * math.pi * large), few, 0.0)
    return _reduced(terms, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of scores, as the mean over the classes.

    Parameters
    ----------
    input : Tensor, (..., C)
        Scores.
    target : Tensor, (..., C)
        0 or 1 for each class.
    weight : Tensor, (C,), optional
        Factors of the classes.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the reduction is unknown.
    ShapeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Of PyTorch; its source names none.
    """
    op = "multilabel_soft_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    check_reduction(op, reduction)
    same_device(op, input.device, target.device)
    if not input.ndim:
        raise ShapeError(f"{here(op)}: input: expected scores (..., C); got shape {input.shape}.")
    terms = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    return _reduced(mean(terms if weight is None else terms * weight, -1), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the other classes of max(margin - input[target] + input[i], 0)^p.

    Parameters
    ----------
    input : Tensor, (N, C) or (C,)
        Scores.
    target : Tensor, (N,) or ()
        Class indices.
    p : int
        1 or 2.
    margin : float
        How far the right class is to be ahead.
    weight : Tensor, (C,), optional
        Factors of the right classes.
    size_average, reduce : bool, optional
        Deprecated, as in PyTorch, and put into ``reduction``.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If ``p`` is neither 1 nor 2, or the reduction unknown.
    ShapeError, DTypeError, DeviceError, RangeError
        If the tensors do not go together, or a target is no class.

    References
    ----------
    Crammer, Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".
    """
    if casting.on:
        input, weight = casting.inputs("multi_margin_loss", input, weight)
    op = "multi_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    check_reduction(op, reduction)
    if p not in (1, 2):
        raise UsageError(f"{here(op)}: p: expected 1 or 2; got {p!r}.")
    ahead = real_number(op, "margin", margin)
    same_device(op, input.device, target.device)
    if input.ndim not in (1, 2) or target.shape != input.shape[:-1]:
        raise ShapeError(
            f"{here(op)}: expected input (N, C) with target (N,), or (C,) with a number; got {input.shape} and "
            f"{target.shape}."
        )
    places = target.unsqueeze(-1)
    terms = clamp(ahead - gather(input, -1, places) + input, min=0)
    terms = terms if p == 1 else square(terms)
    if weight is not None:
        terms = terms * gather(weight, 0, target.reshape(-1)).reshape(places.shape)
    own = compare("ne", one_hot(target, input.shape[-1]), 0)
    return _reduced(mean(masked_fill(terms, own, 0.0), -1), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(distance(anchor, positive) - distance(anchor, negative) + margin, 0) with a distance of one's own.

    Parameters
    ----------
    anchor, positive, negative : Tensor, (N, ...)
    distance_function : callable, optional
        Of two tensors; :func:`pairwise_distance` if not given.
    margin : float
        How much farther the negative is to be; above 0.
    swap : bool
        Whether the distance between positive and negative counts where it is the smaller one.
    reduction : str
        "mean", "sum" or "none".

    Raises
    ------
    UsageError
        If the margin is not above 0, or the reduction unknown.
    ShapeError, DeviceError
        If the tensors do not go together.

    References
    ----------
    Balntas, Riba, Ponsa, Mikolajczyk 2016, "Learning local feature descriptors with triplets and shallow convolutional
    neural networks".
    """
    op = "triplet_margin_with_distance_loss"
    check_reduction(op, reduction)
    ahead = real_number(op, "margin", margin, 0, above=True)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            f"{here(op)}: expected tensors with equally many axes; got {anchor.shape}, {positive.shape}, "
            f"{negative.shape}."
        )
    distance: Callable[[Tensor, Tensor], Any] = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return _reduced(clamp(near - far + ahead, min=0), reduction)
