"""MNIST and Fashion-MNIST: 70,000 grey images each, read from the four files as they are published."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gpunn._files import is_file
from gpunn.data._folders import dataset_folder, files_missing
from gpunn.data._sources import FASHION_MNIST, Source
from gpunn.data._sources import MNIST as MNIST_SOURCE
from gpunn.data.idx import read_idx
from gpunn.data.images import ImageDataset


class MNIST(ImageDataset):
    """Handwritten digits, 28x28 grey: 60,000 to train on and 10,000 to test on.

    Items are (image, label): a (1, 28, 28) float32 image, standardised with the mean and the
    standard deviation of all training pixels, and an int. :meth:`Dataset.batch` returns (n, 1, 28, 28)
    float32 and (n,) int64.

    Parameters
    ----------
    root : path-like, optional
        The folder that holds the files, under their published names, with or without ``.gz``
        (``train-images-idx3-ubyte`` and so on). Default: ``mnist`` in ``$GPUNN_DATA``, or where
        that is not set in ``~/.cache/gpunn`` (``$XDG_CACHE_HOME/gpunn``).
    train : bool
        The training images, else the test images.
    download : bool
        Fetch the files into that folder if they are not there. Their digests are verified.

    Attributes
    ----------
    images : numpy.ndarray
        (N, 28, 28) uint8, 0 is paper and 255 is ink.
    labels : numpy.ndarray
        (N,) int64, 0 to 9.
    mean, std : float
        0.1307 and 0.3081, the customary figures. Computed from the published training file,
        dividing by 255, they are 0.130660 and 0.308108; a test repeats that where the data is present.
    classes : tuple of str
    input_shape : tuple of int

    Raises
    ------
    DataError
        If a file is missing (the message names the files, the folder and what to do), cannot be
        downloaded (every address and reason), is damaged, or is not MNIST: counts disagree,
        images are not 28x28 bytes, a label is not 0 to 9.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
    recognition", Proc. IEEE 86(11). Files: http://yann.lecun.com/exdb/mnist/, mirrored at
    https://ossci-datasets.s3.amazonaws.com/mnist/.
    """

    folder = "mnist"
    classes: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    input_shape = (1, 28, 28)
    train_mean, train_std = 0.1307, 0.3081
    source: Source = MNIST_SOURCE

    def __init__(self, root: str | os.PathLike[str] | None = None, train: bool = True, download: bool = False) -> None:
        prefix = "train" if train else "t10k"
        names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
        folder = dataset_folder(self.folder, root)
        missing = [name for name in names if _find(folder, name) is None]
        if missing and download:
            from gpunn.data._download import fetch_file

            for name in missing:
                fetch_file(type(self).__name__, self.source, f"{name}.gz", folder)
        elif missing:
            wanted = f"{' and '.join(names)} (each as it is or with .gz)"
            raise files_missing(type(self).__name__, wanted, missing[0], folder, root, self.folder)
        images_path, labels_path = (_find(folder, name) or folder / name for name in names)
        super().__init__(
            read_idx(images_path),
            read_idx(labels_path),
            self.train_mean,
            self.train_std,
            source=f"{images_path} and {labels_path.name}",
        )
        self.train = train


class FashionMNIST(MNIST):
    """Pictures of clothes, 28x28 grey: 60,000 to train on and 10,000 to test on, in 10 classes.

    Files, shapes and dtypes are those of :class:`MNIST`, but the task is harder.

    Parameters
    ----------
    root : path-like, optional
        As in :class:`MNIST`, with ``fashion-mnist`` in place of ``mnist``; the file names are the same.
    train : bool
        The training images, else the test images.
    download : bool
        Fetch the files into that folder if they are not there. Their digests are verified.

    Attributes
    ----------
    images : numpy.ndarray
        (N, 28, 28) uint8, 0 is background.
    labels : numpy.ndarray
        (N,) int64, 0 to 9.
    mean, std : float
        0.2860 and 0.3530, the customary figures: of the training pixels divided by 255.
    classes : tuple of str
        "T-shirt/top" to "Ankle boot".
    input_shape : tuple of int

    Raises
    ------
    DataError
        As in :class:`MNIST`.

    References
    ----------
    Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747. https://github.com/zalandoresearch/fashion-mnist
    """

    folder = "fashion-mnist"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    train_mean, train_std = 0.2860, 0.3530
    source = FASHION_MNIST


def _find(folder: Path, name: str, suffixes: Sequence[str] = ("", ".gz")) -> Path | None:
    """The path of the named file, plain or with ``.gz``."""
    return next((p for s in suffixes if is_file(p := folder / f"{name}{s}")), None)
