"""Files in one folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn.data.image import pillow, read_image
from gpunn.data.image_folder import class_names, files_below
from gpunn.errors import DataError, RangeError, UsageError
from gpunn.vision.datasets._labelled import VisionDataset
from gpunn.vision.transforms._images import from_array

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def _load(path: str) -> Any:
    """Pillow's image of mode RGB."""
    return from_array(read_image(path, 3).transpose(1, 2, 0))


class DatasetFolder(VisionDataset):
    """Files in one folder a class, ``root/cat/1.npy``: items are (what ``loader`` makes of a file, int).

    Parameters
    ----------
    root : path-like
        The folder of the classes' folders.
    loader : callable
        From a path to an item.
    extensions : tuple of str, optional
        Which files are taken, by the ends of their names.
    transform, target_transform : callable, optional
        Called with an item, and with its label.
    is_valid_file : callable, optional
        Which files are taken, by their paths. Give this or ``extensions``.
    allow_empty : bool
        Take folders without files as classes too.

    Attributes
    ----------
    classes : list of str
        The folders' names, sorted; those that begin with a dot are skipped.
    class_to_idx : dict
    samples : list of (str, int)
    targets : list of int

    Raises
    ------
    DataError
        If there are no folders, or one without files.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        name = type(self).__name__
        if (extensions is None) == (is_valid_file is None):
            raise UsageError(f"{name}: expected either extensions or is_valid_file; got both or none.")
        if not callable(loader):
            raise UsageError(f"{name}: loader: expected a function of a path; got {type(loader).__name__}.")
        self.loader, self.extensions = loader, extensions
        self.classes, self.class_to_idx = self.find_classes(self.root)
        endings = ("",) if extensions is None else tuple(ending.lower() for ending in extensions)
        self.samples: list[tuple[str, int]] = []
        for word, label in self.class_to_idx.items():
            paths = [
                p for p in files_below(Path(self.root, word), endings) if is_valid_file is None or is_valid_file(p)
            ]
            if not paths and not allow_empty:
                raise DataError(
                    f"{name}: expected files ({extensions or 'those of is_valid_file'}) in {self.root}/{word}; "
                    "there is none. Remove the folder if it is no class, or give allow_empty=True."
                )
            self.samples += [(path, label) for path in sorted(paths, key=os.path.split)]
        self.targets = [label for _, label in self.samples]

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """The names of the classes in ``directory``, and label by name; a subclass may choose others."""
        classes = class_names(Path(directory))
        return classes, {name: label for label, name in enumerate(classes)}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        try:
            path, label = self.samples[index]
        except IndexError as error:
            raise RangeError(f"{type(self).__name__}: index {index} is out of range for {len(self)} files.") from error
        return self._changed(self.loader(path), label)


class ImageFolder(DatasetFolder):
    """Image files in one folder a class, ``root/cat/1.png``: items are (Pillow's image of mode RGB, int).

    Parameters
    ----------
    root : path-like
        The folder of the classes' folders.
    transform, target_transform : callable, optional
        Called with an image, and with its label.
    loader : callable
        From a path to an image. The default reads what ``gpunn.data.ImageFolder`` reads, in bounded memory.
    is_valid_file : callable, optional
        Which files are taken, by their paths. Default: by the ends of their names, ``IMG_EXTENSIONS``.
    allow_empty : bool
        Take folders without images as classes too.

    Attributes
    ----------
    classes, class_to_idx, samples, targets
        As of :class:`DatasetFolder`.
    imgs : list of (str, int)
        The samples.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Callable[[str], Any] = _load,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        pillow()
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
