"""Schedules by a function of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpunn.errors import UsageError
from gpunn.optim.lr_scheduler.base import LRScheduler, by_group, number
from gpunn.optim.optimizer import Optimizer

Rate = Callable[[int], float]


class LambdaLR(LRScheduler):
    """The first rate times a function of the step.

    lr = base_lr * lr_lambda(step)

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    lr_lambda : callable, or list of callable
        Given the step, a factor; one for all groups, or one for each.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If one is not a function, or there is not one for each group.

    References
    ----------
    Lecture topic T5.

    Examples
    --------
    >>> import gpunn
    >>> optimizer = gpunn.optim.SGD([gpunn.ones(1, requires_grad=True)], lr=1.0)
    >>> schedule = gpunn.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 0.5, 0.3333333333333333, 0.25]
    """

    _not_saved = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Rate | list[Rate], last_epoch: int = -1) -> None:
        self.lr_lambdas: list[Rate] = by_group(
            self._name, "lr_lambda", lr_lambda, len(self._checked(optimizer).param_groups)
        )
        for function in self.lr_lambdas:
            if not callable(function):
                raise UsageError(f"{self._name}: lr_lambda: expected a function; got {function!r}.")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        return [base * factor for base, factor in zip(self.base_lrs, self._factors(), strict=True)]

    def _factors(self) -> list[float]:
        """What the functions return for step ``last_epoch``."""
        factors = [rate(self.last_epoch) for rate in self.lr_lambdas]
        return [number(self._name, "lr_lambda", f, lambda _: True, "it to return a number") for f in factors]

    def state_dict(self) -> dict[str, Any]:
        """Like :meth:`LRScheduler.state_dict`; for an object used as the function, its attributes."""
        attributes = [dict(vars(f)) if not _is_function(f) else None for f in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": attributes}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume from a saved state; functions must be given to the constructor again.

        Parameters
        ----------
        state_dict : mapping
            From :meth:`state_dict`.
        """
        super().load_state_dict(state_dict)
        saved = state_dict.get("lr_lambdas", [None] * len(self.lr_lambdas))
        for function, attributes in zip(self.lr_lambdas, saved, strict=True):
            if attributes is not None:
                vars(function).update(attributes)


def _is_function(f: Any) -> bool:
    return not hasattr(f, "__dict__") or hasattr(f, "__code__")


class MultiplicativeLR(LambdaLR):
    """The current rate times a function of the step.

    lr = lr * lr_lambda(step), from the first step on

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates to change.
    lr_lambda : callable, or list of callable
        Given the step, a factor; one for all groups, or one for each.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If one is not a function, or there is not one for each group.

    References
    ----------
    Lecture topic T5.
    """

    def get_lr(self) -> list[float]:
        """The groups' rates for step ``last_epoch``."""
        if self._is_initial:
            return self._present()
        return [group["lr"] * factor for group, factor in zip(self._groups, self._factors(), strict=True)]

    def _begin_anew(self) -> None:
        # In a sequence it continues from the rate it finds, as in PyTorch.
        self.last_epoch = 0
        self._set(self.get_lr())
