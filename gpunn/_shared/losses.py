"""What losses between two arrays of one shape share: their checks, and how their terms are added up.

Such a loss is a formula for the term of one element. Its forward returns the terms themselves, or given a
``divisor`` their sum divided by it: the number of elements for the mean, 1 for the sum.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from gpunn._device import same_device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu.elementwise_loss import Two
from gpunn.ops.binary import together

# -- checks ---------------------------------------------------------------------------------------


def check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = ("mean", "sum", "none")) -> None:
    """Raise UsageError unless the reduction is an allowed one."""
    if reduction not in allowed:
        names = ", ".join(map(repr, allowed[:-1]))
        raise UsageError(f"{here(op)}: reduction: expected {names} or {allowed[-1]!r}; got {reduction!r}.")


def reduction_of(op: str, reduction: str, size_average: bool | None, reduce: bool | None) -> str:
    """The ``reduction`` that PyTorch's two older arguments ask for; the given one where they are None."""
    if size_average is None and reduce is None:
        return reduction
    asked = "none" if reduce is False else "sum" if size_average is False else "mean"
    message = f"{here(op)}: size_average and reduce are deprecated: use reduction='{asked}'."
    warnings.warn(message, stacklevel=outside())
    return asked


def outside() -> int:
    """The ``stacklevel`` for a warning of the caller's that is to name the line that called this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("gpunn."):
        frame, level = frame.f_back, level + 1
    return level


def check_pair(op: str, input: Tensor, target: Tensor) -> None:
    """Raise unless input and target have one floating dtype, one shape and one device."""
    if input.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: input: expected a floating dtype; got {input.dtype}. Convert with .float().")
    if target.dtype != input.dtype:
        raise DTypeError(
            f"{here(op)}: target: expected the input's dtype, {input.dtype}; got {target.dtype}. "
            f"Convert with target.to('{input.dtype}')."
        )
    if input.shape != target.shape:
        raise ShapeError(
            f"{here(op)}: expected a target of the input's shape {input.shape}; got {target.shape}. "
            "Nothing is broadcast, which would compare every element with every other: reshape one of them."
        )
    same_device(op, input.device, target.device)


def meeting_pair(op: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Input and target in the dtype in which they meet; raise unless it is floating and both have one shape and device.

    An integer target is as good as a floating one where the loss is a difference.
    """
    if input.dtype != target.dtype:
        input, target = together(op, (input, target))
    check_pair(op, input, target)
    return input, target


def divisor_of(op: str, reduction: str, count: int) -> float | None:
    """What the sum of ``count`` terms is divided by; None for the terms themselves."""
    check_reduction(op, reduction)
    return {"none": None, "sum": 1.0, "mean": float(count)}[reduction]


def check_constant(op: str, name: str, weight: Tensor, input: Tensor) -> None:
    """Raise unless a weight has the input's dtype and device, and requires no gradient."""
    if weight.dtype != input.dtype:
        raise DTypeError(
            f"{here(op)}: {name}: expected the input's dtype, {input.dtype}; got {weight.dtype}. "
            f"Convert with {name}.to('{input.dtype}')."
        )
    if weight.requires_grad:
        raise UsageError(f"{here(op)}: {name}: expected a constant; it requires a gradient. Pass {name}.detach().")
    same_device(op, input.device, weight.device)


def weighted(op: str, terms: Tensor, weight: Tensor, reduction: str, by_weight: bool) -> Tensor:
    """The losses ``terms`` times ``weight``, reduced; ``by_weight``: the mean is over the weights, not the elements."""
    check_reduction(op, reduction)
    check_constant(op, "weight", weight, terms)
    if weight.shape != terms.shape:
        raise ShapeError(f"{here(op)}: weight: expected the input's shape, {terms.shape}; got {weight.shape}.")
    y = terms * weight
    if reduction == "none":
        return y
    if reduction == "sum":
        return y.sum()
    return y.sum() / weight.sum() if by_weight else y.mean()


# -- adding up ------------------------------------------------------------------------------------


def total(xp: Any, terms: Any, divisor: float | None, dtype: Any) -> Any:
    """The terms, or their float64 sum divided by ``divisor`` (NaN for 0 / 0), as an array of ``dtype``.

    NumPy turns a 0-d result into a scalar, and some versions make that a float64.
    """
    if divisor is None:
        return xp.asarray(terms, dtype)
    with quiet():
        return xp.asarray(terms.sum(dtype=np.float64) / divisor, dtype)


def both(xp: Any, dx: Any, needs: Two, dtype: Any) -> tuple[Any, Any]:
    """(dx, -dx) as needed: the gradients of a loss that depends on the difference alone."""
    return (xp.asarray(dx, dtype) if needs[0] else None), (xp.asarray(-dx, dtype) if needs[1] else None)
