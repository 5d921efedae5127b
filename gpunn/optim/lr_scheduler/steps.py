"""Schedules that multiply the rate at certain steps, or at every step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpunn.optim.lr_scheduler.base import LRScheduler, number, whole
from gpunn.optim.optimizer import Optimizer


class StepLR(LRScheduler):
    """The rate falls by a factor every ``step_size`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    step_size : int
        Steps between two falls; a float such as 2.0 will do.
    gamma : float
        The factor.
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

    def __init__(self, optimizer: Optimizer, step_size: float, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = whole(self._name, "step_size", step_size)
        self.gamma = number(self._name, "gamma", gamma, lambda g: g >= 0, "a number >= 0")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return self._present(self.gamma if falls else 1.0)


class MultiStepLR(LRScheduler):
    """The rate falls by a factor at given steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    milestones : iterable of int
        The steps; one that occurs twice counts twice.
    gamma : float
        The factor.
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
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(whole(self._name, "milestones", m, least=0) for m in milestones)
        self.gamma = number(self._name, "gamma", gamma, lambda g: g >= 0, "a number >= 0")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        return self._present(self.gamma ** self.milestones.count(self.last_epoch))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume from a saved state, also one of PyTorch's, which counts the milestones.

        Parameters
        ----------
        state_dict : mapping
            From :meth:`LRScheduler.state_dict`.
        """
        super().load_state_dict(state_dict)
        if isinstance(self.milestones, Mapping):
            self.milestones = sorted(int(m) for m, times in self.milestones.items() for _ in range(times))


class ExponentialLR(LRScheduler):
    """The rate falls by a factor at every step.

    lr = base_lr * gamma^step

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    gamma : float
        The factor.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If gamma is negative.

    References
    ----------
    Lecture topic T5.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = number(self._name, "gamma", gamma, lambda g: g >= 0, "a number >= 0")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        return self._present(1.0 if self._is_initial else self.gamma)
