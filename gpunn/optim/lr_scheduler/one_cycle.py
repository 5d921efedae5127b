"""The one-cycle policy."""

from __future__ import annotations

import math

from gpunn.errors import UsageError
from gpunn.optim.lr_scheduler.base import LRScheduler, cycle_momentum_of, number, numbers, set_momentum, whole
from gpunn.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """The rate rises to ``max_lr`` and falls far below where it began, while momentum falls and rises.

    From max_lr / div_factor to max_lr in the first ``pct_start`` of the steps, then down to
    max_lr / div_factor / final_div_factor. Called after every batch, ``total_steps`` times in all.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates (and momentum, or first beta) to change.
    max_lr : float, or list of float
        The highest rate; one for all groups, or one for each.
    total_steps : int, optional
        How many steps there are.
    epochs, steps_per_epoch : int, optional
        Their product, where ``total_steps`` is not given.
    pct_start : float
        Fraction of the steps in which the rate rises.
    anneal_strategy : {"cos", "linear"}
        Along half a cosine or a straight line.
    cycle_momentum : bool
        Whether momentum moves against the rate.
    base_momentum, max_momentum : float, or list of float
        The bounds of momentum; the first holds where the rate is highest.
    div_factor : float
        ``max_lr`` divided by the first rate.
    final_div_factor : float
        The first rate divided by the last.
    three_phase : bool
        Fall as fast as it rose, then to the last rate.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid, the optimiser has no momentum to move, or there are more steps than stated.

    References
    ----------
    Smith, Topin 2018, arXiv:1708.07120; lecture topic T5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        name, groups = self._name, self._checked(optimizer).param_groups
        if total_steps is not None:
            self.total_steps = whole(name, "total_steps", total_steps)
        elif epochs is None or steps_per_epoch is None:
            raise UsageError(f"{name}: give total_steps, or epochs and steps_per_epoch.")
        else:
            self.total_steps = whole(name, "epochs", epochs) * whole(name, "steps_per_epoch", steps_per_epoch)
        self.pct_start = number(name, "pct_start", pct_start, lambda s: 0 <= s <= 1, "a number from 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise UsageError(f"{name}: anneal_strategy: expected 'cos' or 'linear'; got {anneal_strategy!r}.")
        self.anneal_strategy, self.three_phase, self.cycle_momentum = anneal_strategy, three_phase, cycle_momentum
        highest = numbers(name, "max_lr", max_lr, len(groups), math.isfinite, "a finite number")
        low, high = (
            numbers(name, key, value, len(groups), math.isfinite, "a finite number")
            for key, value in (("base_momentum", base_momentum), ("max_momentum", max_momentum))
        )
        for key, value in (("div_factor", div_factor), ("final_div_factor", final_div_factor)):
            number(name, key, value, lambda v: v > 0, "a number > 0")
        self.use_beta1 = cycle_momentum_of(name, optimizer) if cycle_momentum else False
        if last_epoch == -1:
            for i, group in enumerate(groups):
                group["initial_lr"] = highest[i] / div_factor
                group["max_lr"] = highest[i]
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = low[i], high[i]
                    set_momentum(group, high[i], self.use_beta1)
        else:
            wanted = ("max_lr", "min_lr", *(("base_momentum", "max_momentum") if cycle_momentum else ()))
            for i, group in enumerate(groups):
                missing = [key for key in wanted if key not in group]
                if missing:
                    raise UsageError(
                        f"{name}: to go on after step {last_epoch}, group {i} needs {', '.join(missing)}: load the "
                        "optimiser's state_dict first, or begin with last_epoch=-1."
                    )
        super().__init__(optimizer, last_epoch)

    def _phases(self) -> list[tuple[float, tuple[str, str], tuple[str, str]]]:
        """(last step, rates from and to, momenta from and to) of each phase, by their names in a group."""
        down, up = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
        rising = self.pct_start * self.total_steps - 1
        last = self.total_steps - 1
        if not self.three_phase:
            return [(rising, ("initial_lr", "max_lr"), down), (last, ("max_lr", "min_lr"), up)]
        return [
            (rising, ("initial_lr", "max_lr"), down),
            (2 * self.pct_start * self.total_steps - 2, ("max_lr", "initial_lr"), up),
            (last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum")),
        ]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``; sets their momentum too."""
        step = self.last_epoch
        if step > self.total_steps:
            raise UsageError(f"{self._name}: step {step} of {self.total_steps}: give a larger total_steps.")
        phases, begin = self._phases(), 0.0
        number_of_phase = next((i for i, phase in enumerate(phases) if step <= phase[0]), len(phases) - 1)
        if number_of_phase:
            begin = phases[number_of_phase - 1][0]
        end, rates, momenta = phases[number_of_phase]
        share = (step - begin) / (end - begin) if end != begin else 1.0
        if self.cycle_momentum:
            for group in self._groups:
                set_momentum(group, self._between(group[momenta[0]], group[momenta[1]], share), self.use_beta1)
        return [self._between(group[rates[0]], group[rates[1]], share) for group in self._groups]
