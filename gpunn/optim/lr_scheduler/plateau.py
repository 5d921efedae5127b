"""Lowering the rate where a measure no longer improves."""

from __future__ import annotations

import math

from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.errors import UsageError
from gpunn.optim.lr_scheduler.base import LRScheduler, by_group, number, whole
from gpunn.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """The rate falls by a factor when a measure has not improved for more than ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    mode : {"min", "max"}
        Whether the measure should fall (a loss) or rise (an accuracy).
    factor : float
        In [0, 1).
    patience : int
        Steps without improvement that are tolerated.
    threshold : float
        What counts as an improvement: better than the best by this fraction of its size, or by this amount. NaN is
        never an improvement.
    threshold_mode : {"rel", "abs"}
        Which of the two.
    cooldown : int
        Steps after a fall in which nothing is counted.
    min_lr : float, or list of float
        The lowest rate; one for all groups, or one for each.
    eps : float
        A fall by less than this is skipped.

    Attributes
    ----------
    best : float
        The best measure so far.
    num_bad_epochs : int
        Steps without improvement so far.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Lecture topic T5.

    Examples
    --------
    >>> import gpunn
    >>> optimizer = gpunn.optim.SGD([gpunn.ones(1, requires_grad=True)], lr=0.1)
    >>> schedule = gpunn.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (1.0, 0.8, 0.9, 0.9):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.010000000000000002]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        name = self._name
        self.optimizer = self._checked(optimizer)
        for key, value, known in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in known:
                raise UsageError(f"{name}: {key}: expected {known[0]!r} or {known[1]!r}; got {value!r}.")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = number(name, "factor", factor, lambda f: 0 <= f < 1, "a number >= 0 and < 1")
        self.patience, self.cooldown = whole(name, "patience", patience, 0), whole(name, "cooldown", cooldown, 0)
        self.threshold = number(name, "threshold", threshold, lambda t: t >= 0, "a number >= 0")
        self.min_lrs = by_group(name, "min_lr", min_lr, len(optimizer.param_groups))
        for least in self.min_lrs:
            number(name, "min_lr", least, lambda n: not math.isnan(n), "a number")
        self.eps = number(name, "eps", eps, lambda e: not math.isnan(e), "a number")
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = self.last_epoch = 0
        self._remember()

    def get_lr(self) -> list[float]:
        """The groups' current rates."""
        return self._present()

    def step(  # type: ignore[override]  # the measure comes first, as in PyTorch
        self, metrics: float | Tensor | None = None, epoch: int | None = None
    ) -> None:
        """Take in a measure; lower the rates if that is due.

        Parameters
        ----------
        metrics : float or Tensor
            The measure, such as the test loss after an epoch; a tensor is read from its device.
        epoch : int, optional
            Only None, as it is deprecated in PyTorch.

        Raises
        ------
        UsageError
            If no measure is given.
        """
        refuse("step", epoch=epoch)
        if metrics is None:
            raise UsageError(f"{self._name}.step: expected a measure, such as step(test_loss); got none.")
        value = float(metrics.item() if isinstance(metrics, Tensor) else metrics)
        self.last_epoch += 1
        if self._improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self._groups, self._least(), strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._remember()

    def _least(self) -> list[float]:
        """The lowest rate of each group, of which some may be younger than this schedule."""
        if len(self.min_lrs) != len(self._groups):
            if len(set(self.min_lrs)) > 1:
                raise UsageError(
                    f"{self._name}: min_lr: there are {len(self._groups)} parameter groups now, and "
                    f"{len(self.min_lrs)} numbers. Add to min_lrs when you add a group."
                )
            self.min_lrs = self.min_lrs[:1] * len(self._groups)
        return self.min_lrs

    def _improves(self, value: float) -> bool:
        down = self.mode == "min"
        if self.threshold_mode == "rel":
            # A fraction of its size: a negative best improves by moving away from 0 where it should fall.
            lower = down == (self.best >= 0)
            bound = self.best * (1 - self.threshold if lower else 1 + self.threshold)
        else:
            bound = self.best - self.threshold if down else self.best + self.threshold
        return value < bound if down else value > bound
