"""ImageFolder: image files in one folder per class, decoded on access."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.data.dataset import Dataset, Indices
from gpunn.data.image import image_size, pillow, read_image
from gpunn.data.images import Standardiser
from gpunn.errors import DataError, UsageError


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
        Which files are images, by the case-insensitive end of their name; others are skipped.

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
        If the folder does not exist, has no subfolder, or a class has no image; if Pillow is not
        installed; when an item is taken, if its file cannot be decoded or has another size.
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
    ) -> None:
        pillow()
        if channels not in (1, 3):
            raise UsageError(f"ImageFolder: expected channels to be 1 (grey) or 3 (RGB); got {channels!r}.")
        if isinstance(extensions, str) or not extensions:
            raise UsageError(f"ImageFolder: expected a sequence of extensions such as ('.png',); got {extensions!r}.")
        self.root = Path(root)
        self.classes = tuple(_class_names(self.root))
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        endings = tuple(ending.lower() for ending in extensions)
        self.samples: list[tuple[str, int]] = []
        for name, label in self.class_to_idx.items():
            paths = list(_files(self.root / name, endings))
            if not paths:
                raise DataError(
                    f"ImageFolder: expected images ({', '.join(endings)}) in {self.root / name}; there is none. "
                    "Remove the folder if it is no class."
                )
            self.samples += [(path, label) for path in paths]
        self.labels = np.array([label for _, label in self.samples], np.int64)
        self._size = None if size is None else _height_and_width(size)
        H, W = self._size or image_size(self.samples[0][0])
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
        pixels = read_image(path, C, self._size).transpose(1, 2, 0)
        if pixels.shape != (H, W, C):
            raise DataError(
                f"ImageFolder: {path} is {pixels.shape[0]}x{pixels.shape[1]} (height x width); expected {H}x{W}, "
                f"as {self.samples[0][0]}. Give size= to resize all."
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


def _class_names(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"ImageFolder: expected a folder with one folder per class; {root} is none.")
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"ImageFolder: expected one folder per class in {root}; it has no folder.")
    return names


def _files(folder: Path, endings: tuple[str, ...]) -> Iterator[str]:
    """Images in and below a folder, in the sorted order of their paths."""
    with os.scandir(folder) as entries:
        found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in found:
        if entry.is_dir():
            yield from _files(Path(entry.path), endings)
        elif entry.name.lower().endswith(endings):
            yield entry.path
