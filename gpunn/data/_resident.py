"""What a DeviceLoader keeps on its device: a dataset's images in one array, and what is changed in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import physical
from gpunn.data import transforms
from gpunn.data.dataset import stack_items
from gpunn.data.images import ImageDataset
from gpunn.data.subsets import Subset
from gpunn.errors import DataError, DTypeError, OutOfMemoryError, ShapeError, UsageError
from gpunn.ops.take_images import Changes

_PIECE = 1024  # items read at a time
Moments = np.ndarray | None


def read(name: str, dataset: Any) -> tuple[np.ndarray, np.ndarray, Moments, Moments]:
    """Images (N, H, W, C), labels (N,) int64, and of bytes mean and deviation (C,) of pixels divided by 255."""
    if len(dataset) == 0:
        raise DataError(f"{name}: expected at least one item; the dataset ({type(dataset).__name__}) is empty.")
    whole, rows = dataset, slice(None)
    chosen: Any = rows
    while isinstance(whole, Subset):
        chosen = whole.indices if chosen is rows else whole.indices[chosen]
        whole = whole.dataset
    if isinstance(whole, ImageDataset):
        c, h, w = whole.input_shape
        images = physical(whole.images).reshape(-1, h, w, c)[chosen]
        mean, std = (np.broadcast_to(np.asarray(v, np.float32), (c,)).copy() for v in (whole.mean, whole.std))
        return np.ascontiguousarray(images), whole.labels[chosen], mean, std
    images, labels = _read_pieces(name, dataset)
    classes = len(getattr(dataset, "classes", ())) or np.iinfo(np.int64).max
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        until = "" if classes == np.iinfo(np.int64).max else f" to {classes - 1}"
        raise DataError(
            f"{name}: expected labels from 0{until}; got {labels[outside[0]]} at position {outside[0]}. "
            "Check the dataset."
        )
    return images, labels, None, None


def _read_pieces(name: str, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """All items by the dataset's own ``batch``; the whole is allocated once the first piece has told the size."""
    n = len(dataset)
    images, labels = np.empty((0, 0, 0, 0), np.float32), np.empty((n,), np.int64)
    for start in range(0, n, _PIECE):
        numbers = np.arange(start, min(start + _PIECE, n))
        take = getattr(dataset, "batch", None)
        fields = stack_items(dataset, numbers) if take is None else take(numbers)
        if len(fields) != 2 or fields[0].ndim != 4 or fields[1].ndim != 1 or fields[1].dtype.kind not in "iu":
            found = ", ".join(f"{f.dtype} {f.shape[1:]}" for f in fields)
            raise ShapeError(
                f"{name}: expected items of an image (C, H, W) and an integer label; got {found}. Use a DataLoader."
            )
        if fields[0].dtype != np.float32:
            raise DTypeError(
                f"{name}: expected images of float32, or a dataset of gpunn.data that keeps bytes; got "
                f"{fields[0].dtype}. Convert them in the dataset, or use a DataLoader."
            )
        piece = physical(fields[0])
        if start == 0:
            images = np.empty((n, *piece.shape[1:]), np.float32)
        if piece.shape[1:] != images.shape[1:]:
            _, h, w, c = images.shape
            raise ShapeError(
                f"{name}: expected images of one size, {(c, h, w)} as item 0; got {fields[0].shape[1:]} from item "
                f"{start} on. Crop or resize them."
            )
        images[start : start + len(piece)] = piece
        labels[start : start + len(piece)] = fields[1]
    return images, labels


def upload(
    name: str, device: Device, images: np.ndarray, labels: np.ndarray, mean: Moments, std: Moments
) -> tuple[Any, Any, Any, Any]:
    """These arrays on the device.

    Raises
    ------
    OutOfMemoryError
        If they do not fit; the message says how much there is and how much it takes.
    """
    takes, free = images.nbytes + labels.nbytes, free_bytes(device)
    if free is not None and takes > free:
        raise OutOfMemoryError(
            f"{name}: {len(images):,} images of {images[0].nbytes:,} bytes take {takes / 2**20:,.1f} MiB; "
            f"{free / 2**20:,.1f} MiB are free on {device}. Use a DataLoader, which uploads a batch at a time, or a "
            "part of the dataset."
        )
    one, two, three, four = (None if a is None else device.array(a) for a in (images, labels, mean, std))
    return one, two, three, four


def free_bytes(device: Device) -> int | None:
    """What is free on a GPU, in CuPy's pool too; None on the CPU."""
    if device.ordinal is None:
        return None
    with device.active():
        return int(device.xp.cuda.runtime.memGetInfo()[0] + device.xp.get_default_memory_pool().free_bytes())


def changes_of(name: str, transform: Any, height: int, width: int) -> Changes:
    """What a transform does, for images of this size.

    Raises
    ------
    UsageError
        If it does something that is not known here, or in another order.
    """
    found: dict[str, Any] = {}
    kinds: list[type] = []
    for part in _parts(transform):
        kind = type(part)
        if kind in kinds or (kinds and kinds[-1] is transforms.Cutout):
            raise UsageError(f"{name}: expected each transform once, and Cutout last; got {transform!r}.")
        kinds.append(kind)
        if isinstance(part, transforms.RandomCrop):
            part.check(height, width)
            reflect = part.padding_mode == "reflect"
            found |= {"size": part.size, "padding": part.padding, "reflect": reflect, "fill": part.fill}
        elif isinstance(part, transforms.RandomHorizontalFlip):
            found |= {"flip_across": part.p, "alternate": part.alternate}
        elif isinstance(part, transforms.RandomVerticalFlip):
            found["flip_down"] = part.p
        elif isinstance(part, transforms.Cutout):
            if found.get("padding") and not found["reflect"] and found["fill"] != part.fill:
                raise UsageError(f"{name}: expected RandomCrop and Cutout to fill with one number; got {transform!r}.")
            found |= {"cutout": part.size, "fill": part.fill}
        else:
            raise UsageError(
                f"{name}: cannot apply {part!r} on the device; expected RandomCrop, RandomHorizontalFlip, "
                "RandomVerticalFlip or Cutout. Use a DataLoader."
            )
    return Changes(**found)


def _parts(transform: Any) -> Iterator[Any]:
    if isinstance(transform, transforms.Compose):
        for part in transform.transforms:
            yield from _parts(part)
    elif transform is not None:
        yield transform
