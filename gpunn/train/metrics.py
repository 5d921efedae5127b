"""Reading ``metrics.jsonl``, which may come from anybody: bounded, and with errors of our own."""

from __future__ import annotations

import json
import math
import os
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gpunn._files import file_size, open_file
from gpunn.errors import DataError, UsageError, quoted, shortened

# Beside the epoch; of old runs and of newer versions' some may be missing.
FIELDS = (
    *("step", "train_loss", "train_accuracy_percent", "test_loss", "test_accuracy_percent"),
    *("images_per_second", "seconds", "lr", "skipped"),
)
_REQUIRED = ("epoch", "train_loss")
_MOST_BYTES = 1 << 26  # some 120,000 epochs of a network of ten layers
_MOST_LINE = 1 << 18  # the gradient norms of some 5,000 layers; what JSON makes of it is below 10 MB
_MOST_LAYERS = 5000
_MOST_EPOCH = 1 << 53  # above it float64 has no odd numbers
_LARGEST = 1e100  # what is above cannot be drawn, and float32 ends at 3e38
# Integers as floats: one of 100,000 digits would take Python seconds, and is infinite here.
_DECODER = json.JSONDecoder(parse_int=float, parse_constant=lambda name: math.nan)


@dataclass(frozen=True)
class Metrics:
    """The epochs of a run, by column.

    Attributes
    ----------
    path : Path
        The file.
    epoch : numpy.ndarray
        (n,) int64, ascending.
    columns : dict of str to numpy.ndarray
        Each (n,) float64, by the names of :class:`~gpunn.train.EpochRecord`; NaN where the file has null, NaN, infinity
        or nothing.
    gradient_norms : dict of str to numpy.ndarray
        By layer, each (n,) float64, NaN where there is none. Empty for runs of versions without them.
    notes : tuple of str
        What is odd about the file: a torn last line, an epoch that is there twice.
    """

    path: Path
    epoch: np.ndarray
    columns: dict[str, np.ndarray]
    gradient_norms: dict[str, np.ndarray]
    notes: tuple[str, ...]

    def has(self, field: str) -> bool:
        """Whether any epoch has a number in this column."""
        return bool(np.isfinite(self.columns[field]).any())


def read_metrics(run: str | os.PathLike[str]) -> Metrics:
    """Read the metrics of a run.

    Parameters
    ----------
    run : path-like
        A run's folder, or a file such as its ``metrics.jsonl``.

    Returns
    -------
    Metrics
        At least one epoch. Of lines of the same epoch the last counts; a last line that was cut off is left out.

    Raises
    ------
    UsageError
        If there is no such file, or no epoch in it.
    DataError
        If it cannot be read, is larger than 64 MiB, or a line is no JSON object with an epoch, a training loss and
        numbers; the message names the line and what it holds.
    """
    folder = Path(run)
    try:
        path = folder / "metrics.jsonl" if folder.is_dir() else folder
        with open_file(path) as file:
            return _read(path, file)
    except FileNotFoundError as error:
        what = "has no metrics.jsonl: no epoch was complete yet" if folder.is_dir() else "does not exist"
        raise UsageError(f"expected a folder that gpunn train wrote; {shortened(folder)} {what}.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, DataError | UsageError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{shortened(folder)}: could not be read: {reason}.") from error


def _read(path: Path, file: BinaryIO) -> Metrics:
    size = file_size(file)
    if size > _MOST_BYTES:
        raise DataError(f"{path}: expected at most {_MOST_BYTES} bytes of metrics; the file has {size}.")
    rows = _Rows()
    for number in range(1, _MOST_BYTES):
        line = file.readline(_MOST_LINE + 1)
        if not line:
            break
        if len(line) > _MOST_LINE:
            raise DataError(f"{path}: line {number}: expected at most {_MOST_LINE} bytes; it has more.")
        if line.isspace():
            continue
        try:
            record = _parse(line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                rows.notes.append(f"line {number} is cut off, and left out")
                break
            raise DataError(f"{path}: line {number}: {error}.") from error
        try:
            rows.add(record, number)
        except ValueError as error:
            raise DataError(f"{path}: line {number}: {error}.") from error
    if not rows.places:
        raise UsageError(f"{path}: expected a line for each epoch; it has none, so no epoch was complete.")
    return rows.result(path, size)


def _parse(line: bytes) -> dict[str, Any]:
    """The object in a line; ValueError says what it is instead."""
    try:
        record = _DECODER.decode(line.decode())
    except RecursionError:
        raise ValueError(f"expected a JSON object; got brackets nested too deep: {quoted(line, 60)}") from None
    except ValueError:
        raise ValueError(f"expected a JSON object; got {quoted(line, 100)}") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object; got {quoted(line, 100)}")
    return record


class _Rows:
    """Columns that grow: eight bytes a number, where a list of records would take hundreds."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}  # epoch: its row, of several the last
        self.columns = {name: array("d") for name in FIELDS}
        self.norms: dict[str, tuple[array[int], array[float]]] = {}  # by layer: rows, and the values there
        self.notes: list[str] = []
        self._count = 0
        self._repeated = 0

    def add(self, record: dict[str, Any], line: int) -> None:
        missing = [name for name in _REQUIRED if name not in record]
        if missing:
            raise ValueError(f"expected the fields {' and '.join(_REQUIRED)}; {missing[0]} is missing")
        epoch = record["epoch"]
        if not isinstance(epoch, float) or not 1 <= epoch <= _MOST_EPOCH or epoch != int(epoch):
            raise ValueError(f"epoch: expected a whole number of at least 1; got {_shown(epoch)}")
        values = [_value(name, record.get(name)) for name in FIELDS]
        norms = record.get("gradient_norms")
        if norms is not None and not isinstance(norms, dict):
            raise ValueError(f"gradient_norms: expected an object of numbers by layer; got {_shown(norms)}")
        found = {layer: _value(f"gradient_norms of {quoted(layer, 60)}", v) for layer, v in (norms or {}).items()}
        if int(epoch) in self.places:
            if not self._repeated:
                self.notes.append(f"line {line} repeats epoch {int(epoch)}: of each epoch the last line counts")
            self._repeated += 1
        row = self.places[int(epoch)] = self._count
        self._count += 1
        for name, value in zip(FIELDS, values, strict=True):
            self.columns[name].append(value)
        for layer, value in found.items():
            if layer not in self.norms and len(self.norms) == _MOST_LAYERS:
                raise ValueError(f"gradient_norms: expected at most {_MOST_LAYERS} layers; there are more")
            rows, norm = self.norms.setdefault(layer, (array("q"), array("d")))
            rows.append(row)
            norm.append(value)

    def result(self, path: Path, size: int) -> Metrics:
        epochs = np.array(sorted(self.places), np.int64)
        chosen = np.array([self.places[int(epoch)] for epoch in epochs], np.int64)
        rank = np.full(self._count, -1, np.int64)
        rank[chosen] = np.arange(len(chosen))
        norms = {}
        # A file without gaps has at least six bytes for each; one full of gaps must not become a table of gigabytes.
        if len(self.norms) * len(chosen) > size + 1_000_000:
            raise DataError(
                f"{path}: expected the gradient norms of all layers in each line; the file has {len(self.norms)} "
                f"layers in {len(chosen)} lines, and most of their norms are missing."
            )
        for layer, (rows, values) in self.norms.items():
            places = rank[np.frombuffer(rows, np.int64)]
            column = np.full(len(chosen), np.nan)
            column[places[places >= 0]] = np.frombuffer(values)[places >= 0]
            norms[layer] = column
        columns = {name: np.frombuffer(values)[chosen] for name, values in self.columns.items()}
        return Metrics(path, epochs, columns, norms, tuple(self.notes))


def _value(name: str, value: Any) -> float:
    """A number, or NaN for what is none that can be shown."""
    if value is None:
        return math.nan
    if not isinstance(value, float):  # a truth is no float here, as integers are
        raise ValueError(f"{name}: expected a number or null; got {_shown(value)}")
    return value if abs(value) <= _LARGEST else math.nan


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else quoted(value, 60) if isinstance(value, str) else _kind(value)


def _kind(value: Any) -> str:
    names = {bool: "a truth value", dict: "an object", list: "an array", type(None): "null"}
    return names[type(value)]
