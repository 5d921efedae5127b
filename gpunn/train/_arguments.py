"""What a Trainer may be given."""

from __future__ import annotations

from typing import Any

from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.optim.lr_scheduler import ReduceLROnPlateau
from gpunn.optim.optimizer import Optimizer


def check_arguments(
    model: Module, optimizer: Optimizer, scheduler: Any, scheduler_every: Any, not_finite: Any, clip_grad_norm: Any
) -> None:
    """Raise UsageError unless these arguments of a Trainer are valid, and belong together."""
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise UsageError(
            "Trainer: the optimiser holds none of the model's parameters, so nothing would be trained; "
            "build it from this model's .parameters()."
        )
    if scheduler_every not in ("epoch", "step"):
        raise UsageError(f"Trainer: scheduler_every: expected 'epoch' or 'step'; got {scheduler_every!r}.")
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise UsageError("Trainer: the schedule holds another optimiser; build it from the one given here.")
    if isinstance(scheduler, ReduceLROnPlateau) and scheduler_every == "step":
        raise UsageError("Trainer: ReduceLROnPlateau watches whole epochs; use scheduler_every='epoch'.")
    if not_finite not in ("stop", "skip"):
        raise UsageError(f"Trainer: not_finite: expected 'stop' or 'skip'; got {not_finite!r}.")
    if clip_grad_norm is not None and not (
        isinstance(clip_grad_norm, int | float) and not isinstance(clip_grad_norm, bool) and clip_grad_norm > 0
    ):
        raise UsageError(f"Trainer: clip_grad_norm: expected a number above 0; got {clip_grad_norm!r}.")


def whole_numbers(place: str, **given: Any) -> None:
    """Raise UsageError unless each is a whole number of at least 1, or None."""
    for name, value in given.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise UsageError(f"{place}: {name}: expected a whole number of at least 1; got {value!r}.")
