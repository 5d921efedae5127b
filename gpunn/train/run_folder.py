"""The files of a training run: ``metrics.jsonl``, ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.errors import DataError
from gpunn.nn.module import Module
from gpunn.serialize import check_writable_folder, save_file, write_atomically
from gpunn.train.callbacks import EpochRecord


class RunFolder:
    """Where a trainer saves completed epochs: after each, its weights and its metrics.

    Nothing is written before the first epoch is done. Then files of an earlier run in the folder
    are replaced. The weights belong to the last line of ``metrics.jsonl``; their metadata names epoch
    and step.

    Parameters
    ----------
    path : path-like
        Created if it does not exist.

    Raises
    ------
    UsageError
        If it cannot be created or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = check_writable_folder(path)
        self._begun = False

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

    def save(self, model: Module, record: EpochRecord, config: Mapping[str, Any]) -> None:
        """Add a finished epoch.

        Raises
        ------
        DataError
            If the system refuses; the message names the file and the reason.
        """
        line = json.dumps({key: _finite(value) for key, value in record.as_dict().items()}) + "\n"
        try:
            if not self._begun:
                # Never a new configuration beside an old run's weights, even if this is interrupted.
                self.weights.unlink(missing_ok=True)
                self.metrics.unlink(missing_ok=True)
                write_atomically(self.config, (json.dumps(config, indent=2, default=_plain) + "\n").encode())
                self._begun = True
            save_file(model.state_dict(), self.weights, {"epoch": str(record.epoch), "step": str(record.step)})
            # One write of one line: it is there whole or not at all, even after Ctrl-C.
            with open(self.metrics, "ab", buffering=0) as file:
                file.write(line.encode())
        except OSError as error:
            raise DataError(f"{self.path}: could not be written: {error.strerror or error}.") from error


def _plain(value: Any) -> Any:
    """Convert what JSON does not support: NumPy's numbers to numbers, a path or a dtype to its text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have."""
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
