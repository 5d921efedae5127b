"""The base of datasets of images, and those that fit into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunn import data as bytes_of
from gpunn._creation_shared import as_tensor
from gpunn._files import is_file
from gpunn._shared.numbers import whole_number
from gpunn.data.image import pillow
from gpunn.errors import RangeError, UsageError
from gpunn.random import Generator
from gpunn.utils.data import Dataset
from gpunn.vision.transforms._images import from_array

_Transform = Callable[[Any], Any]


class VisionDataset(Dataset[Any]):
    """Base class: keeps ``root`` and the transforms, and says what it is.

    Parameters
    ----------
    root : path-like
        The folder of the files.
    transforms : callable, optional
        Called with an image and its label, instead of the other two.
    transform, target_transform : callable, optional
        Called with an image, and with its label.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transforms: Callable[[Any, Any], Any] | None = None,
        transform: _Transform | None = None,
        target_transform: _Transform | None = None,
    ) -> None:
        name = type(self).__name__
        if transforms is not None and (transform is not None or target_transform is not None):
            raise UsageError(f"{name}: transforms goes without transform and target_transform; got both.")
        given = {"transforms": transforms, "transform": transform, "target_transform": target_transform}
        for word, function in given.items():
            if function is not None and (not callable(function) or isinstance(function, type)):
                raise UsageError(f"{name}: {word}: expected an instance that is called; got {function!r}.")
        self.root = os.path.expanduser(os.fspath(root))
        self.transforms = transforms
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def _changed(self, image: Any, label: Any) -> tuple[Any, Any]:
        if self.transforms is not None:
            changed: tuple[Any, Any] = self.transforms(image, label)
            return changed
        if self.transform is not None:
            image = self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)

    def extra_repr(self) -> str:
        """A line for ``repr``, of a subclass."""
        return ""

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}", f"Root location: {self.root}", *self.extra_repr().splitlines()]
        if self.transform is not None:
            lines.append(f"Transform: {self.transform!r}")
        return "\n    ".join([f"Dataset {type(self).__name__}", *lines])


class _Labelled(VisionDataset):
    """Bytes of images and their labels, in memory."""

    classes: Sequence[str]
    data: Any
    targets: Any

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: _Transform | None = None,
        target_transform: _Transform | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        pillow()
        self.train = bool(train)
        read = self._read(Path(self.root), self.train, bool(download))
        self._pixels = read.images if read.images.ndim == 3 else read.images.transpose(0, 2, 3, 1)
        self._labels = read.labels

    def _read(self, root: Path, train: bool, download: bool) -> Any:
        raise NotImplementedError

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Label by the name of a class."""
        return {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        try:
            pixels, label = self._pixels[index], int(self._labels[index])
        except IndexError as error:
            raise RangeError(
                f"{type(self).__name__}: index {index!r} is out of range for {len(self)} images."
            ) from error
        return self._changed(from_array(pixels), label)

    def extra_repr(self) -> str:
        """Which part it is."""
        return f"Split: {'Train' if self.train else 'Test'}"


class MNIST(_Labelled):
    """Handwritten digits, 28x28 grey: items are (Pillow's image of mode L, int).

    Parameters
    ----------
    root : path-like
        The files are in ``root/MNIST/raw``, as torchvision puts them, in ``root/MNIST`` or in ``root`` itself, with or
        without ``.gz``.
    train : bool
        The 60,000 images to train on, else the 10,000 to test on.
    transform, target_transform : callable, optional
        Called with an image, and with its label.
    download : bool
        Fetch the files into ``root/MNIST/raw`` if they are not there. Their digests are verified.

    Attributes
    ----------
    data : Tensor
        (N, 28, 28) uint8.
    targets : Tensor
        (N,) int64.
    classes : list of str
    class_to_idx : dict

    Raises
    ------
    DataError
        If files are missing, damaged or cannot be fetched, or Pillow is not installed.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998, Proc. IEEE 86(11); see ``gpunn.data.MNIST``.
    """

    classes = [  # noqa: RUF012 - torchvision's is such a list
        f"{digit} - {word}"
        for digit, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
    ]
    _source: type[bytes_of.MNIST] = bytes_of.MNIST

    def _read(self, root: Path, train: bool, download: bool) -> Any:
        name = self._source.__name__
        prefix = "train" if train else "t10k"
        wanted = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
        inside = root / name / "raw"
        folder = next(
            (
                place
                for place in (inside, root / name, root)
                if all(is_file(place / file) or is_file(place / f"{file}.gz") for file in wanted)
            ),
            inside,
        )
        return self._source(folder, train=train, download=download)

    @property
    def data(self) -> Any:
        """(N, 28, 28) uint8."""
        return as_tensor(self._pixels)

    @property
    def targets(self) -> Any:
        """(N,) int64."""
        return as_tensor(self._labels)


class FashionMNIST(MNIST):
    """Pictures of clothes, 28x28 grey, in 10 classes: items are (Pillow's image of mode L, int).

    Parameters
    ----------
    root, train, transform, target_transform, download
        As of :class:`MNIST`, with ``FashionMNIST`` in place of ``MNIST``.

    References
    ----------
    Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747; see ``gpunn.data.FashionMNIST``.
    """

    classes = list(bytes_of.FashionMNIST.classes)  # noqa: RUF012
    _source = bytes_of.FashionMNIST


class CIFAR10(_Labelled):
    """Photographs of 10 kinds of animals and vehicles, 32x32: items are (Pillow's image of mode RGB, int).

    Parameters
    ----------
    root : path-like
        The folder that holds ``cifar-10-batches-bin``, the archive's "binary version". torchvision's
        ``cifar-10-batches-py`` are pickles, which are not read.
    train : bool
        The 50,000 images to train on, else the 10,000 to test on.
    transform, target_transform : callable, optional
        Called with an image, and with its label.
    download : bool
        Fetch and unpack the archive (170 MB) there if a file is missing. Its digests are verified.

    Attributes
    ----------
    data : numpy.ndarray
        (N, 32, 32, 3) uint8.
    targets : list of int
    classes : list of str
    class_to_idx : dict

    Raises
    ------
    DataError
        If files are missing, damaged or cannot be fetched, or Pillow is not installed.

    References
    ----------
    Krizhevsky 2009, "Learning multiple layers of features from tiny images"; see ``gpunn.data.CIFAR10``.
    """

    classes = list(bytes_of.CIFAR10.classes)  # noqa: RUF012
    _source: type[bytes_of.CIFAR10] = bytes_of.CIFAR10

    def _read(self, root: Path, train: bool, download: bool) -> Any:
        return self._source(root, train=train, download=download)

    @property
    def data(self) -> np.ndarray:
        """(N, 32, 32, 3) uint8."""
        return self._pixels

    @property
    def targets(self) -> list[int]:
        """Labels."""
        labels: list[int] = self._labels.tolist()
        return labels


class CIFAR100(CIFAR10):
    """Photographs in 100 classes, 32x32: items are (Pillow's image of mode RGB, int).

    Parameters
    ----------
    root, train, transform, target_transform, download
        As of :class:`CIFAR10`, with ``cifar-100-binary`` in place of ``cifar-10-batches-bin``.

    References
    ----------
    Krizhevsky 2009, "Learning multiple layers of features from tiny images"; see ``gpunn.data.CIFAR100``.
    """

    classes = list(bytes_of.CIFAR100.classes)  # noqa: RUF012
    _source = bytes_of.CIFAR100


class FakeData(VisionDataset):
    """Noise with random labels, to try a program without data: items are (Pillow's image of mode RGB, int).

    Parameters
    ----------
    size : int
        How many.
    image_size : (int, int, int)
        C, H and W; C is 1 or 3.
    num_classes : int
    transform, target_transform : callable, optional
        Called with an image, and with its label.
    random_offset : int
        Datasets with other offsets have other images; an item is always the same.

    Raises
    ------
    UsageError
        If a number is invalid.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: Sequence[int] = (3, 224, 224),
        num_classes: int = 10,
        transform: _Transform | None = None,
        target_transform: _Transform | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(".", transform=transform, target_transform=target_transform)
        pillow()
        self.size = whole_number("FakeData", "size", size, 0)
        self.num_classes = whole_number("FakeData", "num_classes", num_classes, 1)
        self.random_offset = whole_number("FakeData", "random_offset", random_offset, 0)
        self.image_size = tuple(whole_number("FakeData", "image_size", n, 1) for n in image_size)
        if len(self.image_size) != 3 or self.image_size[0] not in (1, 3):
            raise UsageError(f"FakeData: image_size: expected (C, H, W) with C 1 or 3; got {image_size!r}.")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise RangeError(f"FakeData: index {index!r} is out of range for {self.size} images.")
        channels, height, width = self.image_size
        source = Generator(self.random_offset + index)
        pixels = source.integers(256, (height, width, channels)).astype(np.uint8)
        label = int(source.integers(self.num_classes, (1,))[0])
        return self._changed(from_array(pixels if channels == 3 else pixels[:, :, 0]), label)
