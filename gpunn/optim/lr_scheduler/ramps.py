"""Schedules that lead from one factor to another in a given number of steps."""

from __future__ import annotations

from gpunn.optim.lr_scheduler.base import LRScheduler, number, whole
from gpunn.optim.optimizer import Optimizer


class LinearLR(LRScheduler):
    """The rate times a factor that moves linearly from one number to another: a warm-up.

    lr = base_lr * (start_factor + (end_factor - start_factor) * min(step, total_iters) / total_iters)

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    start_factor : float
        In (0, 1].
    end_factor : float
        In [0, 1].
    total_iters : int
        Steps until ``end_factor`` is reached.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Goyal et al. 2017, arXiv:1706.02677 (warm-up); lecture topic T5.

    Examples
    --------
    Four steps of warm-up, then a cosine:

    >>> import gpunn
    >>> from gpunn.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> optimizer = gpunn.optim.SGD([gpunn.ones(1, requires_grad=True)], lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> cosine = CosineAnnealingLR(optimizer, T_max=10)
    >>> schedule = SequentialLR(optimizer, [warm_up, cosine], milestones=[4])
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number(
            self._name, "start_factor", start_factor, lambda f: 0 < f <= 1, "a number > 0 and <= 1"
        )
        self.end_factor = number(self._name, "end_factor", end_factor, lambda f: 0 <= f <= 1, "a number from 0 to 1")
        self.total_iters = whole(self._name, "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * step / self.total_iters

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        if self.last_epoch == 0:
            return self._present(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        return self._present(self._factor(self.last_epoch) / self._factor(self.last_epoch - 1))


class ConstantLR(LRScheduler):
    """The rate times a factor, for a given number of steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    factor : float
        In (0, 1].
    total_iters : int
        Steps after which the rate returns to the first one.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Lecture topic T5.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = number(self._name, "factor", factor, lambda f: 0 < f <= 1, "a number > 0 and <= 1")
        self.total_iters = whole(self._name, "total_iters", total_iters, least=0)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        if self.last_epoch == 0:
            return self._present(self.factor)
        return self._present(1.0 / self.factor if self.last_epoch == self.total_iters else 1.0)


class PolynomialLR(LRScheduler):
    """The rate falls to 0 like a power of the steps that remain.

    lr = base_lr * (1 - min(step, total_iters) / total_iters)^power

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    total_iters : int
        Steps until 0 is reached.
    power : float
        The power.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Lecture topic T5.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = whole(self._name, "total_iters", total_iters)
        self.power = number(self._name, "power", power, lambda p: p >= 0, "a number >= 0")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        remain = self.total_iters - self.last_epoch
        return self._present((remain / (remain + 1)) ** self.power)
