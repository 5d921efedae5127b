"""NpzDataset: images or rows and their labels, from one ``.npz`` file."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._files import file_size, most_unpacked, open_file
from gpunn._layout import logical, physical
from gpunn.data._npz_file import Header, NpzFile
from gpunn.data.dataset import Dataset, Indices
from gpunn.data.images import Standardiser
from gpunn.errors import DataError, UsageError, quoted, shortened

_WHOLE = (("x", "y"), ("images", "labels"))
_MOST_CLASSES = 100_000
_BLOCK = 1 << 18
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
        are refused, as loading them would run their code. A compressed file may unpack to ten times its size and
        12 MB, labels counted as int64; one that is not compressed may have any size.
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
        name = f"NpzDataset ({shortened(self.path, 200)})"
        self.x, self.y = _read(name, self.path, train, layout)
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


def _read(name: str, path: Path, train: bool | None, layout: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, images among them with the channels first, and targets."""
    try:
        with open_file(path) as file:
            archive = NpzFile(name, file)
            return _arrays(name, archive, _choose(name, list(archive.members), train), layout, file_size(file))
    except FileNotFoundError as error:
        raise DataError(f"{name}: the file does not exist.") from error
    except OSError as error:
        raise DataError(f"{name}: could not be read: {error.strerror or error}.") from error


def _choose(name: str, keys: Sequence[str], train: bool | None) -> tuple[str, str]:
    """The names of inputs and targets."""
    held = shortened(", ".join(keys[:50])) or "nothing"
    pairs = [pair for pair in (_WHOLE if train is None else _PARTS[bool(train)]) if set(pair) <= set(keys)]
    if train is None and len(pairs) != 1:
        if {"x_train", "x_test"} & set(keys):
            raise UsageError(f"{name}: it has parts; choose one with train=True or train=False. It holds {held}.")
        raise DataError(f"{name}: expected either x and y or images and labels; it holds {held}.")
    if not pairs:
        wanted = " and ".join(_PARTS[bool(train)][0])
        raise DataError(f"{name}: train={train} expects {wanted}; it holds {held}.")
    return pairs[0]


def _arrays(
    name: str, archive: NpzFile, keys: tuple[str, str], layout: str | None, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Everything is checked by the headers before anything is allocated for the arrays."""
    (x, x_stream), (y, y_stream) = (archive.open(key) for key in keys)
    if not x.shape or not y.shape or x.shape[0] != y.shape[0] or x.shape[0] == 0:
        raise DataError(
            f"{name}: expected as many targets as inputs, at least one; got inputs {quoted(x.shape)} and targets "
            f"{quoted(y.shape)}."
        )
    for what, header in (("inputs", x), ("targets", y)):
        if header.dtype.kind not in "biuf":
            raise DataError(f"{name}: expected {what} to be numbers; got {header.dtype}.")
    if not math.prod(x.shape):
        raise DataError(f"{name}: expected inputs of at least one number each; got {x.dtype} {quoted(x.shape)}.")
    channels_last = len(x.shape) == 4 and _layout(name, x.shape, layout) == "NHWC"
    floats = y.dtype.kind == "f"
    if not floats and y.shape not in ((y.shape[0],), (y.shape[0], 1)):
        raise DataError(
            f"{name}: expected one integer label per input, (N,) or (N, 1); got {y.dtype} {quoted(y.shape)}."
        )
    takes = math.prod(x.shape) * x.dtype.itemsize + math.prod(y.shape) * (y.dtype.itemsize if floats else 8)
    if x.dtype == np.uint8 and len(x.shape) == 4:
        takes += 8 * min(math.prod(x.shape[1:]), 1 << 18)
    if takes > most_unpacked(size):
        raise DataError(
            f"{name}: expected {' and '.join(keys)} to unpack to at most {most_unpacked(size)} bytes, for a file of "
            f"{size}; they take {quoted(takes, 30)}. If the file is genuine, save it with "
            "numpy.savez, which does not compress."
        )
    if len(x.shape) == 4 and not channels_last:
        n, c, h, w = x.shape
        memory = np.empty((n, h, w, c), x.dtype)
        as_stored = memory.transpose(0, 3, 1, 2)
    else:
        as_stored = memory = np.empty(x.shape, x.dtype)
    _fill(archive, keys[0], x_stream, as_stored.T if x.fortran else as_stored)
    archive.finish(keys[0], x_stream)
    inputs = logical(_native(memory)) if len(x.shape) == 4 else _native(memory)
    if x.dtype == np.uint8 and len(x.shape) == 3:
        inputs = inputs[:, None]
    if floats:
        targets = np.empty(y.shape, y.dtype)
        _fill(archive, keys[1], y_stream, targets.T if y.fortran else targets)
        targets = _native(targets)
    else:
        targets = _labels(name, archive, keys[1], y_stream, y)
    archive.finish(keys[1], y_stream)
    return inputs, targets


def _fill(archive: NpzFile, key: str, stream: Any, view: np.ndarray) -> None:
    """Read the next ``view.nbytes`` bytes into an array of any strides, with little memory beside it."""
    if view.flags.c_contiguous:
        archive.fill(key, stream, view)
        return
    row = view[0].nbytes
    if row > _BLOCK:
        for part in view:
            _fill(archive, key, stream, part)
        return
    count = max(1, _BLOCK // max(1, row))
    for start in range(0, len(view), count):
        part = np.empty(view[start : start + count].shape, view.dtype)
        archive.fill(key, stream, part)
        view[start : start + count] = part


def _labels(name: str, archive: NpzFile, key: str, stream: Any, header: Header) -> np.ndarray:
    """Labels (N,) int64, of any stored integers."""
    labels = np.empty(header.shape[0], np.int64)
    for start in range(0, len(labels), _BLOCK):
        part = np.empty(len(labels[start : start + _BLOCK]), header.dtype)
        archive.fill(key, stream, part)
        part = _native(part)  # NumPy 2.0.0 dies of comparing others with numbers that their dtype does not have
        # Before the cast: 2^63 and more would become negative.
        wrong = np.flatnonzero(part > np.iinfo(np.int64).max if part.dtype == np.uint64 else part < 0)
        if len(wrong):
            value = int(part[wrong[0]])
            expected = "labels of at least 0" if value < 0 else "labels that number classes"
            raise DataError(f"{name}: expected {expected}; got {value} at position {start + int(wrong[0])}.")
        labels[start : start + _BLOCK] = part
    return labels


def _native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, the only one devices support, in the same memory."""
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def _layout(name: str, shape: tuple[int, ...], layout: str | None) -> str:
    """Where images of this shape have their channels."""
    if layout is not None:
        return layout
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        raise UsageError(
            f"{name}: cannot tell which axis of {quoted(shape)} has the channels; give layout='NCHW' or 'NHWC'."
        )
    return "NCHW" if first else "NHWC"


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
