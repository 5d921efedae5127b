"""A callback that examines the layers while a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunn.errors import UsageError
from gpunn.train.callbacks import Callback, EpochRecord
from gpunn.train.health import layer_health
from gpunn.train.health_report import HealthReport

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer


class HealthCheck(Callback):
    """Examine the layers before the first step and after epochs; print what is found when it changes.

    Training is not changed by it: the numbers of a run are the same with and without.

    Parameters
    ----------
    data : (images, labels), or iterable of such pairs
        As for :func:`layer_health`. Give it a batch, or a loader that does not shuffle: one that does draws an
        order each time, and so changes the order of whatever draws next.
    every : int
        Epochs from one examination to the next.
    max_batches : int
        How many batches of a loader to use.
    log : bool
        Whether to print to standard output.

    Attributes
    ----------
    reports : list of (int, HealthReport)
        Each with the number of epochs done before it.

    Raises
    ------
    UsageError
        If ``every`` or ``max_batches`` is not a whole number of at least 1.
    """

    def __init__(self, data: Any, *, every: int = 1, max_batches: int = 1, log: bool = True) -> None:
        for name, value in (("every", every), ("max_batches", max_batches)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"HealthCheck: {name}: expected a whole number of at least 1; got {value!r}.")
        self.data, self.every, self.max_batches, self.log = data, every, max_batches, log
        self.reports: list[tuple[int, HealthReport]] = []
        self._shown: list[str] = []

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps: int) -> None:
        """Examine the layers as they are before the first step."""
        self._examine(trainer)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Examine them again."""
        if record.epoch % self.every == 0:
            self._examine(trainer)

    def _examine(self, trainer: Trainer) -> None:
        report = layer_health(trainer.model, self.data, trainer.loss, max_batches=self.max_batches)
        self.reports.append((trainer.epoch, report))
        found = report.findings()
        # A number of layers that comes and goes by one is no news; a verdict is.
        news = [line.split(":")[0] for line in found]
        if not self.log or news == self._shown or not trainer.ranks.first:
            return
        when = f"after epoch {trainer.epoch}" if trainer.epoch else "before the first step"
        for line in found or ["no layer stands out any more"]:
            print(f"health {when}: {line}", flush=True)
        self._shown = news
