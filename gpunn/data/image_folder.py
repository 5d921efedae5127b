"""ImageFolder: image files in one folder per class, decoded on access."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._files import is_file, is_folder
from gpunn._shared.numbers import whole_number
from gpunn.data.dataset import Dataset, Indices
from gpunn.data.image import image_size, pillow, read_image
from gpunn.data.images import Standardiser
from gpunn.errors import DataError, UsageError, shortened

_DEEPEST = 50


class ImageFolder(Dataset):
    """Image files of any size in one folder per class: ``root/cat/1.png``, ``root/dog/more/7.jpg``.

    Only the list of files is kept; a file is decoded when its item or batch is taken, so the
    folder may be larger than memory. Give the :class:`~gpunn.data.DataLoader` some
    ``num_workers`` to decode ahead of the training.

    Items are (image, label): a (C, H, W) float32 image, y = (pixel / 255 - mean) / std, and an
    int. :meth:`batch` returns (n, C, H, W) float32 and (n,) int64.

    Classes are the subfolders in sorted order; the files of a class, including those in nested
    folders, are in the sorted order of their paths. Names that begin with a dot are skipped. An
    image's orientation tag is ignored, and transparency is dropped.

    Parameters
    ----------
    root : path-like
        The folder of the classes' folders.
    size : int or (int, int), optional
        Resize every image to size x size, or (height, width), bilinearly and without keeping the
        aspect ratio. Default: all must have the size of the first.
    channels : 1 or 3
        Convert to grey or to RGB.
    mean, std : float or sequence of C floats
        Of pixels divided by 255. Default 0 and 1: the images are from 0 to 1.
    extensions : sequence of str
        Which files are images, by the case-insensitive end of their name; others are skipped. How a file is decoded is
        decided by its content: BMP, JPEG, PNG, PPM, TIFF or WebP.
    max_pixels : int, optional
        Refuse larger images. Default: about 1.9 million, and five for every four bytes of the file, so that a small
        file cannot fill the memory (see ``gpunn.data.image.read_image``). With ``size``, a larger JPEG is decoded
        at a half, a quarter or an eighth of its size.

    Attributes
    ----------
    classes : tuple of str
        The subfolders' names.
    class_to_idx : dict
        Label by name.
    samples : list of (str, int)
        Path and label of every item.
    labels : numpy.ndarray
        (N,) int64.
    input_shape : tuple of int
        (C, H, W) of one item.

    Raises
    ------
    DataError
        If the folder does not exist, cannot be read, has no subfolder, or a class has no image; if folders are nested
        more than 50 deep or a link leads to a folder twice; if Pillow is not installed; when an item is taken, if its
        file cannot be decoded, or has another size or too many pixels.
    UsageError
        If an argument is invalid.

    References
    ----------
    Files are decoded and resized by Pillow, https://python-pillow.org.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: int | tuple[int, int] | None = None,
        *,
        channels: int = 3,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        extensions: Sequence[str] = (
            ".bmp",
            ".jpeg",
            ".jpg",
            ".pgm",
            ".png",
            ".ppm",
            ".tif",
            ".tiff",
            ".webp",
        ),
        max_pixels: int | None = None,
    ) -> None:
        pillow()
        if channels not in (1, 3):
            raise UsageError(f"ImageFolder: expected channels to be 1 (grey) or 3 (RGB); got {channels!r}.")
        if isinstance(extensions, str) or not extensions:
            raise UsageError(f"ImageFolder: expected a sequence of extensions such as ('.png',); got {extensions!r}.")
        self.root = Path(root)
        self.classes = tuple(class_names(self.root))
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        endings = tuple(ending.lower() for ending in extensions)
        self.samples: list[tuple[str, int]] = []
        for name, label in self.class_to_idx.items():
            paths = list(files_below(self.root / name, endings))
            if not paths:
                raise DataError(
                    f"ImageFolder: expected images ({', '.join(endings)}) in {self.root / name}; there is none. "
                    "Remove the folder if it is no class."
                )
            self.samples += [(path, label) for path in paths]
        self.labels = np.array([label for _, label in self.samples], np.int64)
        self._size = None if size is None else _height_and_width(size)
        self._max_pixels = None if max_pixels is None else whole_number("ImageFolder", "max_pixels", max_pixels, 1)
        H, W = self._size or image_size(self.samples[0][0], self._max_pixels)
        self.input_shape = (channels, H, W)
        self.mean, self.std = mean, std
        self._standardise = Standardiser("ImageFolder", mean, std, self.input_shape)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Image (C, H, W) float32 and its label."""
        path, label = self.samples[index]
        return self._standardise(self._decode(path)[None])[0], label

    def batch(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, C, H, W) float32 and labels (n,) int64."""
        C, H, W = self.input_shape
        pixels = np.empty((len(indices), H, W, C), np.uint8)
        labels = np.empty(len(indices), np.int64)
        for i, index in enumerate(indices):
            path, labels[i] = self.samples[int(index)]
            pixels[i] = self._decode(path)
        return self._standardise(pixels), labels

    def _decode(self, path: str) -> np.ndarray:
        """(H, W, C) uint8."""
        C, H, W = self.input_shape
        pixels = read_image(path, C, self._size, self._max_pixels).transpose(1, 2, 0)
        if pixels.shape != (H, W, C):
            raise DataError(
                f"ImageFolder: {shortened(path, 150)} is {pixels.shape[0]}x{pixels.shape[1]} (height x width); "
                f"expected {H}x{W}, as {shortened(self.samples[0][0], 150)}. Give size= to resize all."
            )
        return pixels


def _height_and_width(size: Any) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int | np.integer) else size
    if (
        not isinstance(pair, tuple | list)
        or len(pair) != 2
        or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in pair)
    ):
        raise UsageError(f"ImageFolder: expected size to be a whole number or (height, width); got {size!r}.")
    return int(pair[0]), int(pair[1])


def class_names(root: Path) -> list[str]:
    """The subfolders of a folder, sorted; DataError if there is none."""
    if not is_folder(root):
        raise DataError(f"ImageFolder: expected a folder with one folder per class; {root} is none.")
    names = [entry.name for entry in _entries(str(root)) if _is_folder(entry)]
    if not names:
        raise DataError(f"ImageFolder: expected one folder per class in {root}; it has no folder.")
    return names


def files_below(folder: Path, endings: tuple[str, ...]) -> Iterator[str]:
    """Images in and below a folder, in the sorted order of their paths; links are followed.

    A folder is read once: a link to a folder above would lead in circles, and a few links to each other's folders
    to more paths than there are atoms.
    """
    seen: set[tuple[int, int]] = set()
    waiting: list[Iterator[os.DirEntry[str]]] = [iter(_entry_list(str(folder), seen))]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
        elif _is_folder(entry):
            if len(waiting) >= _DEEPEST:
                raise DataError(
                    f"ImageFolder: expected folders at most {_DEEPEST} deep in {shortened(folder, 150)}; there is "
                    f"{shortened(entry.path, 150)}."
                )
            waiting.append(iter(_entry_list(entry.path, seen)))
        elif entry.name.lower().endswith(endings):
            if not is_file(entry.path):
                raise DataError(
                    f"ImageFolder: expected an image; {entry.path} is a pipe, a device or a link that leads nowhere. "
                    "Remove it."
                )
            yield entry.path


def _entry_list(path: str, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """What is in a folder that was not met before."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    # Where the system does not number its files, all have the number 0.
    if status.st_ino and (status.st_dev, status.st_ino) in seen:
        raise DataError(f"ImageFolder: expected every folder once; a link leads to {path} again. Remove the link.")
    seen.add((status.st_dev, status.st_ino))
    return _entries(path)


def _entries(path: str) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name, without what is hidden."""
    try:
        with os.scandir(path) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise _unreadable(path, error) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _unreadable(path: str, error: OSError) -> DataError:
    return DataError(f"ImageFolder: the folder {path} could not be read: {error.strerror or error}.")
