"""TensorBoard's files, written by the tensorboard package's own writer; neither TensorFlow nor PyTorch is involved."""

from __future__ import annotations

import itertools
import math
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gpunn.errors import DataError, UsageError
from gpunn.serialize import check_writable_folder
from gpunn.train.callbacks import Callback, EpochRecord

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer

_TAGS = {
    "train_loss": "loss/training",
    "test_loss": "loss/test",
    "train_accuracy_percent": "accuracy in percent/training",
    "test_accuracy_percent": "accuracy in percent/test",
    "lr": "learning rate",
    "images_per_second": "training images per second",
}
_files = itertools.count()  # of this process, whose names must differ


class TensorBoard(Callback):
    """Write losses, accuracies, learning rate, speed and gradient norms of every epoch for TensorBoard.

    ``tensorboard --logdir runs`` shows all runs below that folder. The horizontal axis is the number of steps. A
    resumed run tells TensorBoard to drop what an earlier process wrote after the step it goes on from, so no step is
    shown twice.

    Parameters
    ----------
    folder : path-like, optional
        Where the event files go; created if it does not exist. The trainer's own folder if not given.

    Raises
    ------
    UsageError
        If the tensorboard package is missing, the folder cannot be written, or neither this nor the trainer has one.
    DataError
        While training, if the system refuses to write.

    References
    ----------
    https://www.tensorflow.org/tensorboard; the files are records of ``Event``, a protocol buffer.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        _need_tensorboard()
        self.folder = None if folder is None else check_writable_folder(folder)
        self._path = Path()
        self._file: BinaryIO | None = None
        self._writer: Any = None

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps: int) -> None:
        """Begin a file, which says from which step on it takes the place of earlier ones."""
        if not trainer.ranks.first:
            return
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = self.folder
        if folder is None:
            if trainer.folder is None:
                raise UsageError("TensorBoard: expected a folder, here or as the Trainer's out; got neither.")
            folder = trainer.folder.path
        # TensorBoard reads files in the order of their names, and a file takes the place of those before it.
        unique = f"{platform.node() or 'host'}.{os.getpid()}.{next(_files):05d}"
        name = f"events.out.tfevents.{time.time():017.6f}.{unique}"
        self._path = folder / name
        try:
            self._file = open(self._path, "wb")  # noqa: SIM115 - open until on_fit_end
        except OSError as error:
            raise self._refused(error) from error
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(step=trainer.step + 1, session_log=SessionLog(status=SessionLog.START))

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Write the epoch's figures."""
        if self._file is None:  # another rank writes
            return
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in _figures(record)]
        self._write(step=record.step, summary=Summary(value=values))

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        file, self._file, self._writer = self._file, None, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise self._refused(error) from error

    def _write(self, **what: Any) -> None:
        """One event, which is in the file when this returns."""
        from tensorboard.compat.proto.event_pb2 import Event

        assert self._file is not None
        try:
            self._writer.write(Event(wall_time=time.time(), **what).SerializeToString())
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> DataError:
        return DataError(f"{self._path}: could not be written: {error.strerror or error}.")


def _need_tensorboard() -> None:
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError as error:
        raise UsageError(f"TensorBoard needs its package ({error}): pip install 'gpunn[tensorboard]'.") from error


def _figures(record: EpochRecord) -> Iterator[tuple[str, float]]:
    """Tags and values; what was not measured, or is not finite, is left out."""
    for name, tag in _TAGS.items():
        value = getattr(record, name)
        if value is not None and math.isfinite(value):
            yield tag, value
    for layer, norm in (record.gradient_norms or {}).items():
        if math.isfinite(norm):
            yield f"gradient norm/{layer}", norm
