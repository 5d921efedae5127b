"""NpzDataset: images or rows and their labels, from one ``.npz`` file."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gpunn._layout import logical, physical
from gpunn.data.dataset import Dataset, Indices
from gpunn.data.images import Standardiser
from gpunn.errors import DataError, UsageError

_WHOLE = (("x", "y"), ("images", "labels"))
_MOST_CLASSES = 1_000_000
_PARTS = {True: (("x_train", "y_train"),), False: (("x_test", "y_test"),)}


class NpzDataset(Dataset):
    """Inputs and targets from an ``.npz`` file: ``x`` and ``y``, or ``images`` and ``labels``, or Keras' names.

    Items are (input, target). Bytes with 3 or 4 axes are images, returned as
    y = (pixel / 255 - mean) / std in float32; other inputs are returned as stored. Inputs with
    4 axes have their channels first or last, whichever axis has length 1 or 3, and are returned
    with the channels first.

    Parameters
    ----------
    path : path-like
        The file, as written by ``numpy.savez`` or ``numpy.savez_compressed``. Pickled objects in it
        are refused, as loading them would run their code.
    train : bool, optional
        Take ``x_train`` and ``y_train``, or for False ``x_test`` and ``y_test``. Default: the file
        has one part, ``x`` and ``y`` or ``images`` and ``labels``.
    layout : "NCHW", "NHWC" or None
        Which axis of 4-d inputs has the channels; None infers it.
    mean, std : float or sequence of C floats
        Of bytes divided by 255. Default 0 and 1: the images are from 0 to 1.
    classes : sequence of str, optional
        Names of the labels. Default: "0", "1", ... up to the largest label.

    Attributes
    ----------
    x : numpy.ndarray
        (N, C, H, W) or (N, ...), otherwise as stored; grey images (N, H, W) of bytes become (N, 1, H, W).
    y : numpy.ndarray
        Labels (N,) int64, from stored (N,) or (N, 1) integers; float targets as stored.
    classes : tuple of str
        Empty where the targets are floats.
    input_shape : tuple of int
        Of one item.

    Raises
    ------
    DataError
        If the file cannot be read, does not hold the arrays, or they do not fit together; the
        message names what it holds.
    UsageError
        If ``layout`` is unknown or cannot be inferred, or there is not exactly one part to take.

    References
    ----------
    The format: numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        train: bool | None = None,
        *,
        layout: str | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        classes: Sequence[str] | None = None,
    ) -> None:
        if layout not in (None, "NCHW", "NHWC"):
            raise UsageError(f"NpzDataset: expected layout 'NCHW' or 'NHWC'; got {layout!r}.")
        self.path = Path(path)
        self.train = train
        name = f"NpzDataset ({self.path})"
        x, y = _read(name, self.path, train)
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
            raise DataError(
                f"{name}: expected as many targets as inputs, at least one; got inputs {x.shape} and targets {y.shape}."
            )
        for what, array in (("inputs", x), ("targets", y)):
            if array.dtype.kind not in "biuf":
                raise DataError(f"{name}: expected {what} to be numbers; got {array.dtype}.")
        self.x = _channels_first(name, x, layout)
        self.y = _targets(name, y)
        self.input_shape = self.x.shape[1:]
        self.classes = _names(name, self.y, classes)
        self.mean, self.std = mean, std
        self._standardise: Standardiser | None = None
        if self.x.dtype == np.uint8 and self.x.ndim == 4:
            C, H, W = self.input_shape
            self._standardise = Standardiser(name, mean, std, (C, H, W))
        elif np.any(np.asarray(mean) != 0) or np.any(np.asarray(std) != 1):
            raise UsageError(
                f"{name}: mean and std are for images of bytes; the inputs are {self.x.dtype} {self.x.shape} and are "
                "given as they are stored."
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Input and target; a label is an int."""
        target = self.y[index]
        target = int(target) if self.y.dtype == np.int64 else target
        if self._standardise is None:
            return self.x[index], target
        return self._standardise(physical(self.x[index][None]))[0], target

    def batch(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, ...) and targets (n, ...)."""
        indices = np.asarray(indices, dtype=None if len(indices) else np.intp)
        stored = physical(self.x)[indices]
        return logical(stored) if self._standardise is None else self._standardise(stored), self.y[indices]


def _read(name: str, path: Path, train: bool | None) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Opened here, because numpy.load leaves the file open when it fails.
        with open(path, "rb") as stream:
            return _choose(name, _load(name, stream), train)
    except FileNotFoundError as error:
        raise DataError(f"{name}: the file does not exist.") from error
    except OSError as error:
        raise DataError(f"{name}: could not be read: {error.strerror or error}.") from error


def _load(name: str, stream: BinaryIO) -> Mapping[str, np.ndarray]:
    """The archive; its arrays are read on access."""
    try:
        file = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: expected a file made by numpy.savez; it cannot be read: {error}.") from error
    if isinstance(file, np.ndarray):
        raise DataError(f"{name}: expected several arrays, made by numpy.savez; it holds one, made by numpy.save.")
    return file


def _choose(name: str, file: Mapping[str, np.ndarray], train: bool | None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets from the file's arrays."""
    held = ", ".join(file) or "nothing"
    pairs = [pair for pair in (_WHOLE if train is None else _PARTS[bool(train)]) if set(pair) <= set(file)]
    if train is None and len(pairs) != 1:
        if {"x_train", "x_test"} & set(file):
            raise UsageError(f"{name}: it has parts; choose one with train=True or train=False. It holds {held}.")
        raise DataError(f"{name}: expected either x and y or images and labels; it holds {held}.")
    if not pairs:
        wanted = " and ".join(_PARTS[bool(train)][0])
        raise DataError(f"{name}: train={train} expects {wanted}; it holds {held}.")
    try:
        x, y = (file[key] for key in pairs[0])
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{name}: {' or '.join(pairs[0])} cannot be read: {error}.") from error
    return _native(x), _native(y)


def _native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, the only one devices support."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _channels_first(name: str, x: np.ndarray, layout: str | None) -> np.ndarray:
    """Images as (N, C, H, W), channels last in memory; other inputs unchanged."""
    if x.ndim != 4:
        x = np.ascontiguousarray(x)  # Fortran order would be reordered for every batch
        return x[:, None] if x.dtype == np.uint8 and x.ndim == 3 else x
    if layout is None:
        first, last = x.shape[1] in (1, 3), x.shape[3] in (1, 3)
        if first == last:
            raise UsageError(
                f"{name}: cannot tell which axis of {x.shape} has the channels; give layout='NCHW' or 'NHWC'."
            )
        layout = "NCHW" if first else "NHWC"
    images: np.ndarray = logical(np.ascontiguousarray(x) if layout == "NHWC" else physical(x))
    return images


def _targets(name: str, y: np.ndarray) -> np.ndarray:
    if y.dtype.kind == "f":
        return y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(f"{name}: expected one integer label per input, (N,) or (N, 1); got {y.dtype} {y.shape}.")
    if y.min() < 0:
        raise DataError(f"{name}: expected labels of at least 0; got {y.min()} at position {y.argmin()}.")
    return y.astype(np.int64)


def _names(name: str, y: np.ndarray, given: Sequence[str] | None) -> tuple[str, ...]:
    if y.dtype.kind == "f":
        return tuple(given or ())
    count = int(y.max()) + 1
    if given is None and count > _MOST_CLASSES:
        raise DataError(f"{name}: expected labels that number classes; got {count - 1}. Give classes= if they do.")
    if given is None:
        return tuple(str(i) for i in range(count))
    if len(given) < count:
        raise DataError(f"{name}: expected labels 0 to {len(given) - 1}; got {count - 1} at position {y.argmax()}.")
    return tuple(given)
