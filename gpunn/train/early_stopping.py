"""Early stopping: end training when a figure has not improved for some epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gpunn.errors import UsageError
from gpunn.train.callbacks import Callback, EpochRecord

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer

# The figures of an epoch that say how good the network is, and whether less is better.
MONITORS = {
    "test_loss": True,
    "test_accuracy_percent": False,
    "train_loss": True,
    "train_accuracy_percent": False,
}


class EarlyStopping(Callback):
    """End training after an epoch when a figure has not improved for ``patience`` epochs.

    The weights of the best epoch stay in the run's folder: its checkpoint is kept beside the latest ones (the epoch
    with the highest test accuracy, see :class:`RunFolder`). A resumed run goes on counting where it was.

    Parameters
    ----------
    monitor : str
        A field of :class:`EpochRecord`: "test_loss", "test_accuracy_percent", "train_loss" or
        "train_accuracy_percent".
    patience : int
        After how many epochs in a row without an improvement to stop; at least 1.
    min_delta : float
        What counts as an improvement: a change by more than that, in the figure's own unit.
    mode : "min" or "max", optional
        Whether less or more is better; of losses less, of accuracies more, if not given.

    Attributes
    ----------
    best : float or None
        The best figure so far; None before the first epoch.
    best_epoch : int or None
        When it was reached.
    waited : int
        Epochs since then.

    Raises
    ------
    UsageError
        If an argument is none of these; while training, if there is no such figure because nothing is tested.

    References
    ----------
    Prechelt 1998, "Early stopping - but when?".

    Examples
    --------
    >>> from gpunn.train import EarlyStopping
    >>> EarlyStopping(patience=5, min_delta=0.001)
    EarlyStopping(monitor='test_loss', patience=5, min_delta=0.001, mode='min')
    """

    def __init__(
        self, monitor: str = "test_loss", *, patience: int = 3, min_delta: float = 0.0, mode: str | None = None
    ) -> None:
        if monitor not in MONITORS:
            raise UsageError(f"EarlyStopping: monitor: expected one of {', '.join(MONITORS)}; got {monitor!r}.")
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise UsageError(f"EarlyStopping: patience: expected a whole number of at least 1; got {patience!r}.")
        if not isinstance(min_delta, int | float) or isinstance(min_delta, bool) or not 0 <= min_delta < math.inf:
            raise UsageError(f"EarlyStopping: min_delta: expected a number of at least 0; got {min_delta!r}.")
        if mode not in ("min", "max", None):
            raise UsageError(f"EarlyStopping: mode: expected 'min', 'max' or None; got {mode!r}.")
        self.monitor, self.patience, self.min_delta = monitor, patience, float(min_delta)
        self.mode = mode or ("min" if MONITORS[monitor] else "max")
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0

    def __repr__(self) -> str:
        return (
            f"EarlyStopping(monitor={self.monitor!r}, patience={self.patience}, min_delta={self.min_delta:g}, "
            f"mode={self.mode!r})"
        )

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Compare the epoch with the best one, and stop the trainer if it is too long ago."""
        value = getattr(record, self.monitor)
        if value is None:
            raise UsageError(
                f"EarlyStopping: epoch {record.epoch} has no {self.monitor}, as nothing is tested: give fit a test "
                "loader, or monitor train_loss."
            )
        if self._improves(value):
            self.best, self.best_epoch, self.waited = float(value), record.epoch, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(
                f"{self.monitor} has not improved for {self.waited} epoch{'s' * (self.waited > 1)}: it was best "
                f"after epoch {self.best_epoch}, {self.best:.4g}"
            )

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return True
        gain = self.best - value if self.mode == "min" else value - self.best
        return gain > self.min_delta  # False for NaN

    def state_dict(self) -> dict[str, Any]:
        """The best figure, its epoch, and how long ago that is."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from there.

        Raises
        ------
        UsageError
            If it is not what :meth:`state_dict` returned.
        """
        best, epoch, waited = (state_dict.get(name) for name in ("best", "best_epoch", "waited"))
        if (
            not (best is None or (isinstance(best, int | float) and not isinstance(best, bool)))
            or not (epoch is None or type(epoch) is int)
            or (best is None) is not (epoch is None)
            or not (type(waited) is int and waited >= 0)
        ):
            raise UsageError(f"EarlyStopping.load_state_dict: expected what state_dict gave; got {state_dict!r:.200}.")
        self.best, self.best_epoch, self.waited = best, epoch, waited
