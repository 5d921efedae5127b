"""Which data the command line names, and the hyper-parameters that suit each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunn._files import is_file, is_folder
from gpunn.cli.arguments import whole, why_no_folder
from gpunn.errors import UsageError, nearest, quoted, shortened


@dataclass(frozen=True)
class Defaults:
    """Hyper-parameters for SGD with momentum where the command line gives none."""

    epochs: int
    batch_size: int
    lr: float
    lr_decay: float


# Measured on the CPU: digits 98.3 to 98.9 % with seeds 0 to 2, mnist 99.4 % with seeds 0 and 1 (LeNet). Halving
# the learning rate settles the last epochs, which scatter by 0.3 % at a constant one. The others are customary.
DATA = {
    "digits": Defaults(epochs=10, batch_size=32, lr=0.02, lr_decay=1.0),
    "mnist": Defaults(epochs=5, batch_size=64, lr=0.02, lr_decay=0.5),
    "fashion-mnist": Defaults(epochs=10, batch_size=64, lr=0.02, lr_decay=0.7),
    "cifar10": Defaults(epochs=20, batch_size=128, lr=0.05, lr_decay=0.85),
    "cifar100": Defaults(epochs=30, batch_size=128, lr=0.05, lr_decay=0.9),
}
_OWN = Defaults(epochs=10, batch_size=32, lr=0.01, lr_decay=0.9)
# Published files.
_DOWNLOADS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
_FOLDERS = {name: name for name in _DOWNLOADS}


def add_data_arguments(add: Callable[..., Any], default: str) -> None:
    """``--data``, ``--data-dir``, ``--download``; ``default`` says what is used without ``--data``."""
    add(
        "--data",
        metavar="NAME",
        help="digits (1,797 images, come with scikit-learn), mnist, fashion-mnist, cifar10, cifar100, a folder with "
        "train/ and test/, each with a folder of images per class, or an .npz file"
        f" (default: {default})",
    )
    add(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the folder that contains mnist/ and the like, or the files themselves (default: $GPUNN_DATA)",
    )
    add("--image-size", type=whole(1), metavar="N", help="resize the images of a folder to N x N")
    add(
        "--max-pixels",
        type=whole(1),
        metavar="N",
        help="refuse larger images of a folder (default: about 1.9 million, and 5 for every 4 bytes of the file)",
    )
    add("--download", action="store_true", help="fetch published data that is not there, and check its digests")


def defaults_for(name: str) -> Defaults:
    """The hyper-parameters for this data."""
    return DATA.get(name, _OWN)


def open_data(args: argparse.Namespace) -> tuple[Any, Any]:
    """The training and the test part of the requested data.

    The user's own images are standardised by statistics of a sample of the training part.

    Raises
    ------
    UsageError
        If there is no such data, or options are incompatible.
    DataError
        If its files are missing or damaged.
    """
    train = open_part(args, True)
    if args.data in DATA:
        return train, open_part(args, False)
    statistics = _measure(train)
    test = open_part(args, False, statistics)
    check_classes(f"--data {args.data}: the training part has", train.classes, "the test part", test)
    return open_part(args, True, statistics), test


def check_classes(where: str, known: Sequence[str], what: str, dataset: Any) -> None:
    """Refuse data whose labels number other classes than ``known``: its accuracy would mean nothing.

    The labels of an ``.npz`` file have no names of their own; there must only be no more of them.

    Raises
    ------
    UsageError
        The message names the classes that one has and the other has not.
    """
    from gpunn.data import NpzDataset

    found = tuple(dataset.classes)
    if isinstance(dataset, NpzDataset):
        if len(found) > len(known):
            raise UsageError(f"{where} {len(known)} classes; {what} has labels up to {len(found) - 1}.")
        return
    if found == tuple(known):
        return
    names = [
        f"{beginning} {shortened(', '.join(sorted(one)[:20]), 100)}"
        for beginning, one in (
            (f"only {what} has", set(found) - set(known)),
            (f"{what} has no", set(known) - set(found)),
        )
        if one
    ]
    raise UsageError(
        f"{shortened(where, 200)} {len(known)} classes, and {what} has others: "
        f"{'; '.join(names) or 'they are in another order'}. Both need the same folders of classes."
    )


def open_part(args: argparse.Namespace, train: bool, statistics: tuple[Any, Any] = (0.0, 1.0)) -> Any:
    """One part of the data; ``statistics`` are mean and std for the user's own data."""
    from gpunn import data

    name = args.data
    if name in _DOWNLOADS:
        return getattr(data, _DOWNLOADS[name])(folder_of(args), train=train, download=args.download)
    if args.download:
        raise UsageError(f"--download: {name} is not published data; expected one of {', '.join(_DOWNLOADS)}.")
    if args.data_dir is not None:
        raise UsageError(f"--data-dir: it is for {', '.join(_DOWNLOADS)}; got --data {name}.")
    path, (mean, std) = Path(name), statistics
    if args.image_size is not None and (name in DATA or not is_folder(path)):
        raise UsageError(f"--image-size: it is for folders of images; got --data {name}.")
    if args.max_pixels is not None and (name in DATA or not is_folder(path)):
        raise UsageError(f"--max-pixels: it is for folders of images; got --data {name}.")
    if name == "digits":
        return data.Digits(train=train)
    if path.suffix == ".npz" and is_file(path):
        return data.NpzDataset(path, train=train, mean=mean, std=std)
    if is_folder(path):
        return data.ImageFolder(
            _image_folder(path, train), args.image_size, mean=mean, std=std, max_pixels=args.max_pixels
        )
    raise UsageError(
        f"--data: expected {', '.join(DATA)}, a folder or an .npz file; got {quoted(name)}"
        + (", which is neither." if os.path.lexists(path) else nearest(name, DATA) or ", which does not exist.")
    )


def _measure(dataset: Any) -> tuple[Any, Any]:
    """Mean and deviation of each channel over up to 1,000 images spread over the training part."""
    import numpy as np

    from gpunn.data import NpzDataset

    if isinstance(dataset, NpzDataset) and dataset.x.dtype != np.uint8:
        return 0.0, 1.0  # returned as stored
    images = dataset.batch(np.unique(np.linspace(0, len(dataset) - 1, min(1000, len(dataset))).astype(int)))[0]
    std = images.std(axis=(0, 2, 3), dtype=np.float64)
    return images.mean(axis=(0, 2, 3), dtype=np.float64).tolist(), np.where(std > 0, std, 1.0).tolist()


def folder_of(args: argparse.Namespace) -> Path | None:
    """The folder of published files, or None for the default one."""
    if args.data not in _DOWNLOADS:
        return None
    given: Path | None = args.data_dir
    if given is None:
        environment = os.environ.get("GPUNN_DATA")
        if not environment:
            if args.download:
                return None
            raise UsageError(
                f"--data {args.data} needs its files: give the folder that contains {_FOLDERS[args.data]}/ with "
                "--data-dir DIR or the environment variable GPUNN_DATA, or let --download fetch them."
            )
        given = Path(environment)
    if not is_folder(given) and not args.download:
        what = why_no_folder(given)
        raise UsageError(
            f"--data-dir: {given} {what}; expected the folder that contains {_FOLDERS[args.data]}/ or its files."
        )
    inner = given / _FOLDERS[args.data]
    return inner if is_folder(inner) or args.download else given


def _image_folder(path: Path, train: bool) -> Path:
    parts = {part: path / part for part in ("train", "test")}
    missing = [str(p) for p in parts.values() if not is_folder(p)]
    if missing:
        raise UsageError(f"--data: expected folders train/ and test/ in {path}; missing: {', '.join(missing)}.")
    return parts["train" if train else "test"]
