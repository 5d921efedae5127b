"""Showing training progress: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from gpunn.errors import UsageError
from gpunn.train.callbacks import Callback, EpochRecord, Progress

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer


def reporter(log: str | None) -> Callback | None:
    """The callback that shows progress on standard output.

    Parameters
    ----------
    log : "auto", "bar", "lines" or None
        "auto" is a bar if standard output is a terminal that can move its cursor, else lines.
    """
    if log is None:
        return None
    if log == "auto":
        log = "bar" if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else "lines"
    if log not in ("bar", "lines"):
        raise UsageError(f"log: expected 'auto', 'bar', 'lines' or None; got {log!r}.")
    return Bar() if log == "bar" else Lines()


def epoch_line(record: EpochRecord, epochs: int) -> str:
    """One epoch in one line."""
    width = len(str(epochs))
    parts = [
        f"epoch {record.epoch:{width}d}/{epochs}",
        f"loss {record.train_loss:.4f}",
        f"accuracy {record.train_accuracy_percent:.2f} %",
    ]
    if record.test_loss is not None and record.test_accuracy_percent is not None:
        parts += [f"test loss {record.test_loss:.4f}", f"test accuracy {record.test_accuracy_percent:.2f} %"]
    return "  ".join([*parts, f"{record.images_per_second:,.0f} images/s", f"{record.seconds:.1f} s"])


class Lines(Callback):
    """One line per epoch."""

    def __init__(self) -> None:
        self._epochs = 0

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps: int) -> None:
        """Note how many epochs there are."""
        self._epochs = epochs

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Print the epoch."""
        # Flushed, so that a log file or pipe shows an epoch when it is done.
        print(epoch_line(record, self._epochs), flush=True)


class Bar(Callback):
    """A live bar for the running epoch, and above it one line per finished epoch."""

    def __init__(self) -> None:
        self._epochs = 0
        self._bar: Any = None
        self._task: Any = None

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps: int) -> None:
        """Show the bar."""
        from rich import progress

        self._epochs = epochs
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[figures]}"),
            progress.TimeRemainingColumn(),
            transient=True,
        )
        self._task = self._bar.add_task(self._title(trainer.epoch + 1), total=steps, figures="")
        self._bar.start()

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch}/{self._epochs}"

    def on_progress(self, trainer: Trainer, progress: Progress) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            description=self._title(progress.epoch),
            completed=progress.step,
            total=progress.steps,
            figures=f"loss {progress.loss:.4f}  accuracy {progress.accuracy_percent:.2f} %  "
            f"{progress.images_per_second:,.0f} images/s",
        )

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Print the epoch above the bar, and restart the bar."""
        self._bar.console.print(epoch_line(record, self._epochs), highlight=False, soft_wrap=True)
        self._bar.reset(self._task, description=self._title(min(record.epoch + 1, self._epochs)), figures="")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
