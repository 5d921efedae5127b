"""Schedules along half a cosine."""

from __future__ import annotations

import math

from gpunn.optim.lr_scheduler.base import LRScheduler, number, whole
from gpunn.optim.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """The rate follows a cosine from the first one to ``eta_min`` in ``T_max`` steps, then back up.

    lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * step / T_max)) / 2

    It is computed from the current rate, so that it composes with other schedules.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    T_max : int
        Steps of half a wave; a float such as 50.0 will do.
    eta_min : float
        The lowest rate.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Loshchilov, Hutter 2017, arXiv:1608.03983; lecture topic T5.
    """

    def __init__(self, optimizer: Optimizer, T_max: float, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = whole(self._name, "T_max", T_max)
        self.eta_min = number(self._name, "eta_min", eta_min, math.isfinite, "a finite number")
        super().__init__(optimizer, last_epoch)

    def _wave(self, step: int) -> float:
        return 1 + math.cos(math.pi * step / self.T_max)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        if self._is_initial:
            return self._present()
        least, before = self.eta_min, self.last_epoch - 1
        if before % (2 * self.T_max) == self.T_max:  # at the bottom there is no ratio to multiply by
            rise = (2 - self._wave(1)) / 2
            return [
                group["lr"] + (base - least) * rise for group, base in zip(self._groups, self.base_lrs, strict=True)
            ]
        ratio = self._wave(self.last_epoch) / self._wave(before)
        return [ratio * (group["lr"] - least) + least for group in self._groups]


class CosineAnnealingWarmRestarts(LRScheduler):
    """The rate follows a cosine from the first one to ``eta_min``, and starts over.

    lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    T_0 : int
        Steps until the first restart.
    T_mult : int
        How many times longer each run is than the one before.
    eta_min : float
        The lowest rate.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Loshchilov, Hutter 2017, arXiv:1608.03983; lecture topic T5.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = self.T_i = whole(self._name, "T_0", T_0)
        self.T_mult = whole(self._name, "T_mult", T_mult)
        self.eta_min = number(self._name, "eta_min", eta_min, math.isfinite, "a finite number")
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next step.

        Parameters
        ----------
        epoch : float, optional
            The position, such as epoch + batch / batches; by default one further.
        """
        self._step_count += 1
        if epoch is None and (self.last_epoch < 0 or self._is_initial):
            epoch = self.last_epoch + 1  # also past restarts: T_cur and T_i are not known yet
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            number(self._name, "epoch", epoch, lambda e: e >= 0, "a number >= 0")
            self.T_cur, self.T_i = epoch, self.T_0
            if self.T_mult == 1:
                self.T_cur = epoch % self.T_0
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        """The groups' rates for the current position."""
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]
