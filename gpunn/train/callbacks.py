"""What a trainer reports to its callbacks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer


@dataclass(frozen=True)
class Progress:
    """How far a running epoch has got.

    Attributes
    ----------
    epoch, epochs : int
        The running epoch, from 1, and the last one planned.
    step, steps : int
        Steps done and planned in this epoch.
    loss, accuracy_percent : float
        Means over the epoch's images so far, each measured before its batch's step.
    images_per_second : float
        Over the epoch so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy_percent: float
    images_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """A finished epoch: one line of ``metrics.jsonl``.

    Attributes
    ----------
    epoch, step : int
        Epochs and steps done by the trainer so far.
    train_loss, train_accuracy_percent : float
        Means over the epoch's images, each measured before its batch's step.
    test_loss, test_accuracy_percent : float or None
        Measured after the epoch; None without a test loader.
    images_per_second : float
        Training images per second of training time.
    seconds : float
        The whole epoch, with its test.
    lr : float
        Learning rate of the optimiser's first group at the end of the epoch.
    gradient_norms : dict of str to float, or None
        By layer (its name in ``named_modules()``; its class's name for a model that is one layer), the Euclidean norm
        of the gradient of its parameters in the epoch's last step.
    skipped : int
        Steps of the epoch that changed nothing, as their loss or gradient was not finite (``not_finite="skip"``, or a
        gradient in float16).
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy_percent: float
    test_loss: float | None
    test_accuracy_percent: float | None
    images_per_second: float
    seconds: float
    lr: float
    gradient_norms: dict[str, float] | None = None
    skipped: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, in order."""
        return asdict(self)


class Callback:
    """Base class of objects that watch a :class:`Trainer`; override the methods of interest.

    Callbacks are called in the order given, after the trainer's own files are written, never inside
    a step. They may read the model, change the optimiser's learning rate, and end training with
    :meth:`Trainer.stop`.
    """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback: names to numbers, strings, lists; by default nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned when the checkpoint was written."""

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps: int) -> None:
        """Before the first step; ``epochs`` is the last epoch's number, ``steps`` the number per epoch."""

    def on_progress(self, trainer: Trainer, progress: Progress) -> None:
        """Every few steps, when the running totals have been read."""

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """After each epoch and its test."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """At the end, also after an error or Ctrl-C."""
