"""Rates that go up and down in triangles."""

from __future__ import annotations

import math
from collections.abc import Callable

from gpunn.errors import UsageError
from gpunn.optim.lr_scheduler.base import LRScheduler, cycle_momentum_of, number, numbers, set_momentum, whole
from gpunn.optim.optimizer import Optimizer


class CyclicLR(LRScheduler):
    """The rate moves linearly between two bounds, while momentum moves the other way.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates (and momentum, or first beta) to change.
    base_lr, max_lr : float, or list of float
        The bounds; one for all groups, or one for each.
    step_size_up : int
        Steps of the rise.
    step_size_down : int, optional
        Steps of the fall; by default as many as of the rise.
    mode : {"triangular", "triangular2", "exp_range"}
        All triangles of one height, each half as high as the one before, or heights times gamma^step.
    gamma : float
        For ``"exp_range"``.
    scale_fn : callable, optional
        Height as a function of the cycle (from 1) or the step, in place of ``mode``.
    scale_mode : {"cycle", "iterations"}
        What ``scale_fn`` is given.
    cycle_momentum : bool
        Whether momentum moves against the rate.
    base_momentum, max_momentum : float, or list of float
        The bounds of momentum; the first holds where the rate is highest.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid, or the optimiser has no momentum to move.

    References
    ----------
    Smith 2017, arXiv:1506.01186; lecture topic T5.
    """

    _not_saved = ("optimizer", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        name, groups = self._name, self._checked(optimizer).param_groups
        up = whole(name, "step_size_up", step_size_up)
        down = up if step_size_down is None else whole(name, "step_size_down", step_size_down)
        self.total_size, self.step_ratio = float(up + down), up / (up + down)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise UsageError(f"{name}: mode: expected 'triangular', 'triangular2' or 'exp_range'; got {mode!r}.")
        if scale_mode not in ("cycle", "iterations"):
            raise UsageError(f"{name}: scale_mode: expected 'cycle' or 'iterations'; got {scale_mode!r}.")
        self.mode, self.gamma, self.scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        self.use_beta1 = cycle_momentum_of(name, optimizer) if cycle_momentum else False
        count = len(groups)
        number(name, "gamma", gamma, math.isfinite, "a finite number")
        low_rates, self.max_lrs, self.base_momentums, self.max_momentums = (
            numbers(name, key, value, count, math.isfinite, "a finite number")
            for key, value in (
                ("base_lr", base_lr),
                ("max_lr", max_lr),
                ("base_momentum", base_momentum),
                ("max_momentum", max_momentum),
            )
        )
        if last_epoch == -1:
            for i, group in enumerate(groups):
                group["lr"] = group["initial_lr"] = low_rates[i]
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = self.base_momentums[i], self.max_momentums[i]
        super().__init__(optimizer, last_epoch)
        self.base_lrs = low_rates

    def _height(self, cycle: int) -> float:
        place = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.scale_fn is not None:
            return float(number(self._name, "scale_fn", self.scale_fn(place), lambda _: True, "it to return a number"))
        if self.mode == "triangular":
            return 1.0
        return 0.5 ** (place - 1) if self.mode == "triangular2" else float(self.gamma**place)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``; sets their momentum too."""
        whole_cycles = math.floor(self.last_epoch / self.total_size)
        x = self.last_epoch / self.total_size - whole_cycles
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        share *= self._height(whole_cycles + 1)
        if self.cycle_momentum:
            for group, low, high in zip(self._groups, self.base_momentums, self.max_momentums, strict=True):
                set_momentum(group, high - (high - low) * share, self.use_beta1)
        return [low + (high - low) * share for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]
