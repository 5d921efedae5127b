"""Schedules one after another, and several at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from gpunn.errors import UsageError
from gpunn.optim.lr_scheduler.base import LRScheduler, whole
from gpunn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from gpunn.optim.optimizer import Optimizer


class _Combined(LRScheduler):
    """What both share: schedules of one optimiser, saved together."""

    _not_saved = ("optimizer", "_schedulers")

    def _take(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        self.optimizer = self._checked(optimizer)
        for i, schedule in enumerate(schedulers):
            if not isinstance(schedule, LRScheduler) or isinstance(schedule, ReduceLROnPlateau):
                raise UsageError(
                    f"{self._name}: schedulers[{i}]: expected a schedule that goes by its steps; "
                    f"got {type(schedule).__name__}."
                )
            if schedule.optimizer is not optimizer:
                raise UsageError(f"{self._name}: schedulers[{i}] belongs to another optimiser.")
        self._schedulers = list(schedulers)

    def get_lr(self) -> list[float]:
        """The groups' current rates."""
        return self._present()

    def _undo_beginning(self) -> None:
        for schedule in self._schedulers:
            schedule._undo_beginning()

    def state_dict(self) -> dict[str, Any]:
        """Like :meth:`LRScheduler.state_dict`, with those of the inner schedules."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume from a saved state.

        Parameters
        ----------
        state_dict : mapping
            From :meth:`state_dict`.
        """
        super().load_state_dict(state_dict)
        for schedule, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            schedule.load_state_dict(saved)


class SequentialLR(_Combined):
    """One schedule after another, each from the first rate on; see :class:`LinearLR` for a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
        The one that all schedules were made with.
    schedulers : list of LRScheduler
        In order.
    milestones : list of int
        The steps at which the second, third, … take over.
    last_epoch : int
        See :class:`LRScheduler`. To resume, the sequence goes through all steps until then, from ``initial_lr`` on: in
        whichever schedule that is, it goes on as if it had not been interrupted.

    Raises
    ------
    UsageError
        If there is not exactly one milestone fewer than schedules, or a schedule is itself a combination, goes by
        a measure, or belongs to another optimiser.

    References
    ----------
    Lecture topic T5.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        self._take(optimizer, schedulers)
        for i, schedule in enumerate(schedulers):
            if isinstance(schedule, _Combined):
                raise UsageError(
                    f"{self._name}: schedulers[{i}] is a {type(schedule).__name__}, which cannot begin anew: "
                    "put its schedules into this list, or chain this sequence."
                )
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise UsageError(
                f"{self._name}: expected schedules, and one milestone between each two; got {len(schedulers)} "
                f"schedules and {len(milestones)} milestones."
            )
        self._milestones = [whole(self._name, "milestones", m, least=0) for m in milestones]
        whole(self._name, "last_epoch", last_epoch, least=-1)
        self.last_epoch = 0
        # Each schedule set its first rates when it was made: only those of the first one count.
        for group in self._groups:
            group["lr"] = group["initial_lr"]
        self._undo_beginning()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        if last_epoch >= 0:
            first.last_epoch = -1  # also one that was made to resume: its part of the way is gone through here
        first._begin()
        self._remember()
        for _ in range(last_epoch + 1):
            self.step()

    def step(self) -> None:  # type: ignore[override]  # without an epoch, as in PyTorch
        """Let the active schedule set the rates of the next step."""
        self.last_epoch += 1
        now = bisect_right(self._milestones, self.last_epoch)
        if now > 0 and self._milestones[now - 1] == self.last_epoch:
            self._schedulers[now]._begin_anew()
        else:
            self._schedulers[now].step()
        self._remember()


class ChainedScheduler(_Combined):
    """Several schedules at once: each changes the rate that the one before it left.

    Parameters
    ----------
    schedulers : sequence of LRScheduler
        In the order in which they are applied.
    optimizer : Optimizer, optional
        The one that all schedules were made with.

    Raises
    ------
    UsageError
        If there is no schedule, or one goes by a measure or belongs to another optimiser.

    References
    ----------
    Lecture topic T5.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise UsageError(f"{self._name}: expected at least one schedule.")
        self._take(schedulers[0].optimizer if optimizer is None else optimizer, schedulers)
        self.last_epoch = schedulers[0].last_epoch
        self._remember()

    def step(self) -> None:  # type: ignore[override]  # without an epoch, as in PyTorch
        """Let each schedule in turn set the rates of the next step."""
        self.last_epoch += 1
        for schedule in self._schedulers:
            schedule.step()
        self._remember()
