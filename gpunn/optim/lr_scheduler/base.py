"""What all schedules share: counting, the starting rates, saving."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn.differences import refuse
from gpunn.errors import UsageError
from gpunn.optim.optimizer import Optimizer


class LRScheduler(abc.ABC):
    """Base class of schedules that depend on the number of their steps.

    A subclass defines :meth:`get_lr`. It may compute a rate from ``base_lrs``, or change the current one, which then
    composes with other schedules of the same optimiser.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change. Each group's current rate is kept as its ``initial_lr``.
    last_epoch : int
        -1 to begin; else the number of steps after which to resume, with groups that have an ``initial_lr``.

    Attributes
    ----------
    base_lrs : list of float
        The groups' rates at the beginning.
    last_epoch : int
        How many times ``step()`` was called.

    Raises
    ------
    UsageError
        If ``optimizer`` is not one, or has no ``initial_lr`` to resume from.

    References
    ----------
    Lecture topic T5.
    """

    # What is not in state_dict: objects, and what a constructor rebuilds.
    _not_saved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = self._checked(optimizer)
        whole(self._name, "last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise UsageError(
                    f"{self._name}: to go on after step {last_epoch}, group {i} needs an 'initial_lr': load the "
                    "optimiser's state_dict first, or begin with last_epoch=-1."
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self._begin()

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def _checked(self, optimizer: Any) -> Optimizer:
        if not isinstance(optimizer, Optimizer):
            raise UsageError(f"{self._name}: expected an optimiser; got {type(optimizer).__name__}.")
        return optimizer

    @abc.abstractmethod
    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``; called by ``step()``."""

    def get_last_lr(self) -> list[float]:
        """The groups' rates as the last ``step()`` left them."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next step; called after the optimiser's ``step()``.

        Parameters
        ----------
        epoch : int, optional
            Only None, as it is deprecated in PyTorch.
        """
        refuse("step", epoch=epoch)
        self._step_count += 1
        self.last_epoch += 1
        self._set(self.get_lr())

    def _set(self, rates: list[float]) -> None:
        for group, lr in zip(self._groups, rates, strict=True):
            group["lr"] = lr
        self._remember()

    def _remember(self) -> None:
        self._last_lr = [group["lr"] for group in self._groups]

    def _present(self, factor: float = 1.0) -> list[float]:
        """The groups' current rates times ``factor``."""
        return [group["lr"] * factor for group in self._groups]

    # -- beginning, also in the middle of a sequence -------------------------------------------

    def _begin(self) -> None:
        """The step that sets the first rates."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _begin_anew(self) -> None:
        """Take over from another schedule, at step 0 and from ``base_lrs``."""
        for group, lr in zip(self._groups, self.base_lrs, strict=True):
            group["lr"] = lr
        self.last_epoch = -1
        self._begin()

    def _undo_beginning(self) -> None:
        """Undo the first step, which a sequence takes when it is due."""
        self.last_epoch -= 1

    # -- saving --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Numbers and lists of numbers that :meth:`load_state_dict` takes, also after a round trip through JSON."""
        saved = {k: v for k, v in vars(self).items() if k not in self._not_saved and k != "_is_initial"}
        return {k: list(v) if isinstance(v, list) else v for k, v in saved.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume from a saved state; the optimiser's own state_dict holds the current rates.

        Parameters
        ----------
        state_dict : mapping
            From :meth:`state_dict`.
        """
        vars(self).update({k: v for k, v in state_dict.items() if k not in self._not_saved})


def number(schedule: str, name: str, value: Any, good: Callable[[Any], bool], expected: str) -> Any:
    """An option that must be a number for which ``good`` holds; UsageError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not good(value):
        raise UsageError(f"{schedule}: {name}: expected {expected}; got {value!r}.")
    return value


def whole(schedule: str, name: str, value: Any, least: int = 1) -> int:
    """An option that must be a whole number of at least ``least``, be it a float such as 1.0; UsageError otherwise."""
    known = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not known or value < least or value % 1 != 0:
        raise UsageError(f"{schedule}: {name}: expected a whole number of at least {least}; got {value!r}.")
    return int(value)


def numbers(
    schedule: str, name: str, value: Any, groups: int, good: Callable[[Any], bool], expected: str
) -> list[float]:
    """As :func:`by_group`, each a number for which ``good`` holds."""
    return [number(schedule, name, v, good, expected) for v in by_group(schedule, name, value, groups)]


def by_group(schedule: str, name: str, value: Any, groups: int) -> list[Any]:
    """One number for each group, given as a list or as one number for all; UsageError otherwise."""
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise UsageError(f"{schedule}: {name}: expected one for each of {groups} parameter groups; got {len(value)}.")
    return list(value)


def cycle_momentum_of(schedule: str, optimizer: Optimizer) -> bool:
    """Whether momentum is the first of ``betas``; UsageError if the optimiser has no momentum at all."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise UsageError(
            f"{schedule}: {type(optimizer).__name__} has neither momentum nor betas; use cycle_momentum=False."
        )
    return "betas" in optimizer.defaults


def set_momentum(group: dict[str, Any], value: float, betas: bool) -> None:
    """Set a group's momentum, or the first of its betas."""
    if betas:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
