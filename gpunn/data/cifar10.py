"""CIFAR-10 and CIFAR-100: 60,000 small colour photographs, read from the binary batches as they are published."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from gpunn._files import fill, is_file, open_file
from gpunn._layout import logical
from gpunn.data._folders import dataset_folder, files_missing
from gpunn.data._sources import CIFAR10 as CIFAR10_SOURCE
from gpunn.data._sources import CIFAR100 as CIFAR100_SOURCE
from gpunn.data._sources import Source
from gpunn.data.images import ImageDataset
from gpunn.errors import DataError


class CIFAR10(ImageDataset):
    """Photographs of 10 kinds of animals and vehicles, 32x32 RGB: 50,000 to train on and 10,000 to test on.

    Items are (image, label): a (3, 32, 32) float32 image, standardised channel by channel, and an
    int. :meth:`Dataset.batch` returns (n, 3, 32, 32) float32 and (n,) int64.

    Parameters
    ----------
    root : path-like, optional
        The folder that holds ``cifar-10-batches-bin``, or that folder itself: the archive's
        "binary version", unpacked (``data_batch_1.bin`` to ``data_batch_5.bin``, ``test_batch.bin``).
        Default: ``cifar10`` in ``$GPUNN_DATA``, or where that is not set in ``~/.cache/gpunn``
        (``$XDG_CACHE_HOME/gpunn``).
    train : bool
        The training images, else the test images.
    download : bool
        Fetch and unpack the archive (170 MB) there if a file is missing. Its digests are verified.

    Attributes
    ----------
    images : numpy.ndarray
        (N, 3, 32, 32) uint8, channels last in memory.
    labels : numpy.ndarray
        (N,) int64, 0 to 9.
    mean, std : tuple of 3 floats
        (0.4914, 0.4822, 0.4465) and (0.2470, 0.2435, 0.2616), the customary figures: of each
        channel's training pixels divided by 255.
    classes : tuple of str
        "airplane" to "truck".
    input_shape : tuple of int

    Raises
    ------
    DataError
        If a file is missing (the message names the files, the folder and what to do), cannot be
        downloaded (every address and reason), is not a whole number of images, or has a label
        that is not 0 to 9.

    References
    ----------
    Krizhevsky 2009, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto. https://www.cs.toronto.edu/~kriz/cifar.html
    """

    folder = "cifar10"
    # fmt: off
    classes: tuple[str, ...] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )
    # fmt: on
    input_shape = (3, 32, 32)
    train_mean = (0.4914, 0.4822, 0.4465)
    train_std = (0.2470, 0.2435, 0.2616)
    source: Source = CIFAR10_SOURCE
    inner_folder = "cifar-10-batches-bin"  # in the archive
    train_files: tuple[str, ...] = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_files: tuple[str, ...] = ("test_batch.bin",)
    label_bytes = 1  # in front of each image; the last of them is the label

    def __init__(self, root: str | os.PathLike[str] | None = None, train: bool = True, download: bool = False) -> None:
        every = (*self.train_files, *self.test_files)
        names = self.train_files if train else self.test_files
        outer = dataset_folder(self.folder, root)
        is_inner = outer.name == self.inner_folder or any(is_file(outer / name) for name in every)
        folder = outer if is_inner else outer / self.inner_folder
        missing = [name for name in names if not is_file(folder / name)]
        if missing and download:
            from gpunn.data._download import fetch_members

            members = [f"{self.inner_folder}/{name}" for name in every]
            fetch_members(type(self).__name__, self.source, self.source.files[0].name, members, folder)
        elif missing:
            wanted = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
            raise files_missing(type(self).__name__, wanted, missing[0], folder, root, self.folder)
        images, labels = _read(type(self).__name__, [folder / name for name in names], self.label_bytes)
        source = f"{folder / names[0]}{f' to {names[-1]}' if len(names) > 1 else ''}"
        super().__init__(images, labels, self.train_mean, self.train_std, source=source)
        self.train = train


_FINE = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard "
    "lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark "
    "shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone "
    "television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm "
)


class CIFAR100(CIFAR10):
    """Photographs in 100 classes, 32x32 RGB: 50,000 to train on and 10,000 to test on; see :class:`CIFAR10`.

    Parameters
    ----------
    root : path-like, optional
        The folder that holds ``cifar-100-binary``, or that folder itself: the archive's "binary version", unpacked
        (``train.bin``, ``test.bin``). Default: ``cifar100`` in ``$GPUNN_DATA``, or in ``~/.cache/gpunn``.
    train : bool
        The training images, else the test images.
    download : bool
        Fetch and unpack the archive (169 MB) there if a file is missing. Its digest is verified.

    Attributes
    ----------
    images, labels, mean, std, input_shape
        As of :class:`CIFAR10`; mean and std are (0.5071, 0.4865, 0.4409) and (0.2673, 0.2564, 0.2762).
    classes : tuple of str
        "apple" to "worm", the fine labels; the 20 coarse ones are not read.

    Raises
    ------
    DataError
        As from :class:`CIFAR10`.

    References
    ----------
    Krizhevsky 2009, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto. https://www.cs.toronto.edu/~kriz/cifar.html
    """

    folder = "cifar100"
    classes = tuple(_FINE.split())
    train_mean = (0.5071, 0.4865, 0.4409)
    train_std = (0.2673, 0.2564, 0.2762)
    source = CIFAR100_SOURCE
    inner_folder = "cifar-100-binary"
    train_files = ("train.bin",)
    test_files = ("test.bin",)
    label_bytes = 2  # the coarse class, then the fine one


def _read(dataset: str, paths: list[Path], label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32), channels last in memory, and labels (N,), of several batches.

    A record is ``label_bytes`` bytes, the last of them the label, and three planes of 32x32 bytes: red, green, blue.
    """
    length = label_bytes + 3 * 32 * 32
    try:
        sizes = [path.stat().st_size for path in paths]
    except OSError as error:
        raise DataError(f"{dataset}: {error.filename} could not be read: {error.strerror or error}.") from error
    for path, size in zip(paths, sizes, strict=True):
        if size % length or not size:
            raise DataError(
                f"{path}: expected a whole number of records of {length} bytes; found {size} bytes. "
                "Download or copy the file again."
            )
    ends = np.cumsum(sizes) // length
    pixels = np.empty((ends[-1], 32, 32, 3), np.uint8)
    labels = np.empty(ends[-1], np.uint8)
    for path, size, end in zip(paths, sizes, ends, strict=True):
        records = np.empty((size // length, length), np.uint8)
        try:
            with open_file(path) as file:
                found = fill(file, records)
        except OSError as error:
            raise DataError(f"{path}: could not be read: {error.strerror or error}.") from error
        if found < size:
            raise DataError(f"{path}: expected {size} bytes; found {found}: it was cut short while it was read.")
        part = slice(end - size // length, end)
        labels[part] = records[:, label_bytes - 1]
        pixels[part] = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return logical(pixels), labels
