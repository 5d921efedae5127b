"""The files of a training run: ``config.json``, ``metrics.jsonl``, ``model.safetensors`` and ``checkpoints/``."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.errors import DataError, UsageError
from gpunn.nn.module import Module
from gpunn.serialize import (
    check_writable_folder,
    encode,
    read_metadata,
    remove_temporaries,
    write_atomically,
    write_together,
)
from gpunn.train.callbacks import EpochRecord
from gpunn.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

_CHECKPOINT = re.compile(r"step-(\d{9,})\.safetensors")


class RunFolder:
    """Where a trainer keeps a run.

    =================================== ====================================================================
    ``config.json``                     what is needed to run again; written before the first step
    ``metrics.jsonl``                   a line for each epoch (:class:`~gpunn.train.EpochRecord`)
    ``model.safetensors``               the weights after the last epoch in ``metrics.jsonl``
    ``checkpoints/step-000001234….``    everything needed to go on from there (``gpunn.train.checkpoint``)
    =================================== ====================================================================

    Every file appears whole or not at all, and is on the disk before the next one is touched.

    Parameters
    ----------
    path : path-like
        Created if it does not exist.
    keep : int
        How many of the latest checkpoints stay, beside the best epoch's; at least 1.

    Raises
    ------
    UsageError
        If it cannot be created or written.
    """

    def __init__(self, path: str | os.PathLike[str], keep: int = 2) -> None:
        if not isinstance(keep, int) or isinstance(keep, bool) or keep < 1:
            raise UsageError(f"RunFolder: keep: expected a whole number of at least 1; got {keep!r}.")
        self.path: Path = check_writable_folder(path)
        self.keep = keep
        self._unlock: Callable[[], Any] = bool  # called too when this object is dropped or the program ends
        self._held = 0

    @property
    def metrics(self) -> Path:
        """One JSON object per line, one line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """What is needed to run again."""
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        """The model's ``state_dict`` after the last complete epoch."""
        return self.path / "model.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, each named by the number of steps done."""
        return self.path / "checkpoints"

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    # -- one run at a time -------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainers out for the block; may be nested. The lock ends with the process that holds it.

        Raises
        ------
        UsageError
            If another trainer, in this or any other process, is writing to the folder.
        """
        if not self._held:
            with _reporting(self.path):
                lock = _lock(self._lock_file)
            self._unlock = weakref.finalize(self, _unlock, self._lock_file, lock, os.getpid())
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                self._unlock()

    # -- beginning ---------------------------------------------------------------------------------

    def holds_a_run(self) -> bool:
        """Whether an earlier run left weights or checkpoints here."""
        return self.weights.exists() or bool(self.steps())

    def check_free(self, overwrite: bool) -> None:
        """Raise UsageError if there is an earlier run here, unless that may be overwritten."""
        if not overwrite and self.holds_a_run():
            raise UsageError(
                f"{self.path}: holds a run already. Go on with it (gpunn train --resume, Trainer.resume), give another "
                "folder, or let it be overwritten (--overwrite, overwrite=True)."
            )

    def begin(self, config: Mapping[str, Any]) -> None:
        """Start a new run: whatever an earlier one left is deleted, and ``config.json`` written.

        Raises
        ------
        DataError
            If the system refuses; the message names the file and the reason.
        """
        with _reporting(self.path):
            self._clean()
            # Never a new configuration beside an old run's weights, even if this is interrupted.
            for path in (*map(self.checkpoint, self.steps()), self.weights, self.metrics):
                path.unlink(missing_ok=True)
            write_atomically(self.config, (json.dumps(config, indent=2, default=_plain) + "\n").encode())

    def reopen(self) -> tuple[Checkpoint | None, list[str]]:
        """The latest checkpoint that is whole, and what was wrong with those after it.

        Raises
        ------
        DataError
            If there are checkpoints and none is whole.
        """
        with _reporting(self.path):
            self._clean()
        complaints: list[str] = []
        for step in reversed(self.steps()):
            try:
                return read_checkpoint(self.checkpoint(step)), complaints
            except DataError as error:
                complaints.append(str(error))
        if complaints:
            raise DataError(f"{self.path}: none of its {len(complaints)} checkpoints can be read: {complaints[0]}")
        return None, []

    def cut_back(self, checkpoint: Checkpoint, history: Sequence[EpochRecord]) -> None:
        """Make metrics and weights those of ``checkpoint``, and delete later checkpoints."""
        step, epoch = int(checkpoint.state["step"]), int(checkpoint.state["epoch"])
        with _reporting(self.path):
            for later in self.steps():
                if later > step and self.checkpoint(later).is_file():
                    self.checkpoint(later).unlink()
            files: dict[str | os.PathLike[str], Sequence[bytes | memoryview]] = {self.metrics: [_lines(history)]}
            if epoch and not self._has_weights_of(epoch):
                about = {"epoch": str(epoch), "step": str(step)}
                files[self.weights] = encode(checkpoint.part("model"), about)
            elif not epoch:
                self.weights.unlink(missing_ok=True)
            write_together(files)

    def _has_weights_of(self, epoch: int) -> bool:
        try:
            return read_metadata(self.weights).get("epoch") == str(epoch)
        except DataError:  # missing or damaged: they are written again
            return False

    def _clean(self) -> None:
        """Remove what a killed process left; the lock says that nobody is writing."""
        remove_temporaries(self.path)
        if self.checkpoints.is_dir():
            remove_temporaries(self.checkpoints)

    # -- saving ------------------------------------------------------------------------------------

    def save(self, model: Module, history: Sequence[EpochRecord]) -> None:
        """Write the weights and the metrics of the epoch that has just ended, together.

        Raises
        ------
        DataError
            If the system refuses; the message names the file and the reason.
        """
        last = history[-1]
        about = {"epoch": str(last.epoch), "step": str(last.step)}
        write_together({self.weights: encode(model.state_dict(), about), self.metrics: [_lines(history)]})

    def save_checkpoint(
        self, arrays: Mapping[str, Any], state: Mapping[str, Any], history: Sequence[EpochRecord]
    ) -> Path:
        """Write a checkpoint of ``state["step"]`` steps, and delete those that are no longer wanted.

        Raises
        ------
        DataError
            If the system refuses; earlier checkpoints are untouched then.
        """
        path = self.checkpoint(int(state["step"]))
        with _reporting(self.path):
            state = {"config": self.config.read_text() if self.config.is_file() else None, **state}
            self.checkpoints.mkdir(exist_ok=True)
            write_checkpoint(path, arrays, state)
            steps, kept = self.steps(), best_step(history)
            for step in steps[: -self.keep]:
                if step != kept:
                    self.checkpoint(step).unlink(missing_ok=True)
        return path

    def steps(self) -> list[int]:
        """The numbers of steps of which there is a checkpoint, ascending."""
        if not self.checkpoints.is_dir():
            return []
        found = (_CHECKPOINT.fullmatch(path.name) for path in self.checkpoints.iterdir())
        return sorted(int(name[1]) for name in found if name is not None)

    def last_good(self, step: int) -> str:
        """Which checkpoint is the latest of fewer than ``step`` steps, as the end of a message."""
        steps = [found for found in self.steps() if found < step]
        return (
            f" The last good checkpoint is {self.checkpoint(steps[-1])}." if steps else " There is no checkpoint yet."
        )

    def checkpoint(self, step: int) -> Path:
        """The file of the checkpoint after ``step`` steps."""
        return self.checkpoints / f"step-{step:09d}.safetensors"


def best_step(history: Iterable[EpochRecord]) -> int | None:
    """After how many steps the test accuracy was highest (without tests the training loss lowest); None at first."""

    def merit(record: EpochRecord) -> float:
        return -record.train_loss if record.test_accuracy_percent is None else record.test_accuracy_percent

    best = max(history, key=merit, default=None)  # of equals the first
    return None if best is None else best.step


def _lock(path: Path) -> FileIO | None:
    """The lock file, locked for as long as it is open; None where there are no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    while True:
        file = FileIO(path, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, file):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}".encode())
                return file
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read(100).decode(errors="replace")
            file.close()
            raise UsageError(
                f"{path.parent}: another training run is writing here ({owner or 'just begun'}). Wait for it or stop "
                "it, or give another folder."
            ) from error
        except OSError as error:
            file.close()
            warnings.warn(
                f"{path.parent}: this file system has no locks ({error.strerror}): see that only one run writes here.",
                stacklevel=4,
            )
            return None
        file.close()  # its owner removed it between our opening and locking it: once more


def _unlock(path: Path, file: FileIO | None, owner: int) -> None:
    if file is not None:
        if os.getpid() == owner:  # and not a child that a fork gave a copy
            path.unlink(missing_ok=True)  # first, as afterwards it may be another's
        file.close()


def _is_still(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path}: could not be written: {error.strerror or error}.") from error


def _lines(history: Iterable[EpochRecord]) -> bytes:
    return b"".join(json.dumps(_finite(record.as_dict())).encode() + b"\n" for record in history)


def _plain(value: Any) -> Any:
    """Convert what JSON does not support: NumPy's numbers to numbers, a path or a dtype to its text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versions(device: Device) -> dict[str, str]:
    """Versions of the software a run depends on."""
    from gpunn import __version__

    found = {"gpunn": __version__, "python": platform.python_version(), "numpy": np.__version__}
    if device.xp is not np:
        found["cupy"] = device.xp.__version__
    return found


def machine(device: Device) -> dict[str, str]:
    """The machine a run ran on."""
    found = {"device": str(device), "platform": platform.platform()}
    if device.ordinal is not None:
        properties = device.xp.cuda.runtime.getDeviceProperties(device.ordinal)
        found["gpu"] = properties["name"].decode()
    return found
