"""Datasets: numbered items on the host, taken one at a time or a batch at once.

A dataset never knows about devices or order; that is the DataLoader's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, ShapeError, UsageError

Indices = Sequence[int] | np.ndarray


class Dataset:
    """Base class: define ``__len__`` and ``__getitem__``; define ``batch`` too where it can be faster.

    An item is a tuple of fields (an image and its label), or one field alone. A field is a NumPy
    array, a gpunn Tensor or a Python number: int becomes int64, float becomes float32.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def batch(self, indices: Indices) -> tuple[np.ndarray, ...]:
        """Items ``indices``, stacked field by field along a new first axis.

        Parameters
        ----------
        indices : sequence of int, length n
            Which items, in which order.

        Returns
        -------
        tuple of numpy.ndarray
            One array (n, ...) per field, always a tuple and never a view of the dataset's memory.

        Raises
        ------
        DataError
            If items differ in their number of fields, or ``indices`` is empty.
        ShapeError, DTypeError
            If one field differs in shape or dtype between items; the message names both items.
        """
        return stack_items(self, indices)


def stack_items(dataset: Any, indices: Indices) -> tuple[np.ndarray, ...]:
    """The body of :meth:`Dataset.batch`, for any object with ``__getitem__``, such as a list."""
    name = type(dataset).__name__
    numbers = [int(i) for i in indices]
    if not numbers:
        raise DataError(f"{name}: expected at least one item to make a batch of; got none.")
    rows = []
    for i in numbers:
        item = dataset[i]
        fields = item if isinstance(item, tuple | list) else (item,)
        rows.append([_as_array(name, i, field) for field in fields])
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"{name}: expected every item to have {len(rows[0])} fields, as item {numbers[0]}; "
                f"item {i} has {len(rows[-1])}."
            )
        for position, (first, field) in enumerate(zip(rows[0], rows[-1], strict=True)):
            if field.shape != first.shape:
                raise ShapeError(
                    f"{name}: field {position} of item {numbers[0]} has shape {first.shape}; got "
                    f"{field.shape} in item {i}. Items of one batch must agree: crop or pad them."
                )
            if field.dtype != first.dtype:
                raise DTypeError(
                    f"{name}: field {position} of item {numbers[0]} is {first.dtype}; got {field.dtype} in "
                    f"item {i}. Return one dtype from __getitem__."
                )
    return tuple(np.stack(column) for column in zip(*rows, strict=True))


def _as_array(name: str, index: int, field: Any) -> np.ndarray:
    """One field of one item as an array; a Python float is float32, as in ``gpunn.tensor``."""
    if isinstance(field, Tensor):
        return field.detach().numpy()
    # np.float64 is a float too, and keeps its dtype.
    array = np.asarray(field, dtype=np.float32 if type(field) is float else None)
    if array.dtype.kind not in "biufc":
        raise DTypeError(
            f"{name}: expected arrays, tensors or numbers in item {index}; got {type(field).__name__}. "
            "Convert it in __getitem__."
        )
    return array


class TensorDataset(Dataset):
    """Arrays of equal length; item i is a tuple of the i-th element of each.

    Parameters
    ----------
    *arrays : numpy.ndarray or Tensor
        One or more, with the same first axis. They are not copied, except that tensors on a GPU
        are copied to the host once, here.

    Attributes
    ----------
    arrays : tuple of numpy.ndarray
        What was given, on the host.

    Raises
    ------
    UsageError
        If nothing was given, or something that is neither an array nor a Tensor.
    ShapeError
        If a first axis is missing or they differ in length; the message names all lengths.
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise UsageError("TensorDataset: expected at least one array; got none.")
        hosts = []
        for position, array in enumerate(arrays):
            host = array.detach().numpy() if isinstance(array, Tensor) else array
            if not isinstance(host, np.ndarray):
                raise UsageError(
                    f"TensorDataset: expected NumPy arrays or gpunn Tensors; argument {position} is "
                    f"{type(array).__name__}. Wrap it in numpy.asarray or gpunn.tensor."
                )
            if host.ndim == 0:
                raise ShapeError(f"TensorDataset: expected items along a first axis; argument {position} is 0-d.")
            hosts.append(host)
        lengths = [len(host) for host in hosts]
        if len(set(lengths)) > 1:
            raise ShapeError(f"TensorDataset: expected as many items in each array; got {lengths}.")
        self.arrays = tuple(hosts)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.arrays)

    def batch(self, indices: Indices) -> tuple[np.ndarray, ...]:
        """Items ``indices``: one copy per array."""
        indices = np.asarray(indices, dtype=None if len(indices) else np.intp)
        return tuple(array[indices] for array in self.arrays)


class ImageDataset(Dataset):
    """Labelled images kept as bytes, standardised when a batch is taken.

    y = (pixel / 255 - mean) / std, in float32 and in this order, which is what
    torchvision's ``ToTensor`` and ``Normalize`` compute, bit for bit.

    Keeping bytes makes the copy out of the dataset four times smaller than the batch it becomes.

    Parameters
    ----------
    images : numpy.ndarray
        (N, H, W) or (N, C, H, W) uint8.
    labels : numpy.ndarray
        (N,), any integer dtype.
    mean, std : float or sequence of C floats
        Of the training images divided by 255.
    source : str
        Where they were read from, for errors.

    Attributes
    ----------
    images : numpy.ndarray
        As given.
    labels : numpy.ndarray
        (N,) int64.
    classes : tuple of str
        Names of the labels 0, 1, ...; set by the subclass.
    input_shape : tuple of int
        (C, H, W) of one item.

    Raises
    ------
    DataError
        If there are no images, counts of images and labels differ, the images are not bytes of
        the expected shape, or a label is not the index of a class.
    """

    classes: tuple[str, ...] = ()
    input_shape: tuple[int, int, int]

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        source: str = "",
    ) -> None:
        name = f"{type(self).__name__} ({source})" if source else type(self).__name__
        C, H, W = self.input_shape
        item_shapes = [(C, H, W), (H, W)] if C == 1 else [(C, H, W)]
        if images.dtype != np.uint8 or images.shape[1:] not in item_shapes:
            raise DataError(
                f"{name}: expected images of {H}x{W} bytes, uint8 {('N', *item_shapes[-1])}; "
                f"got {images.dtype} {images.shape}."
            )
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(f"{name}: expected one integer label per image; got {labels.dtype} {labels.shape}.")
        if len(images) != len(labels):
            raise DataError(
                f"{name}: expected as many labels as images; got {len(images)} images and "
                f"{len(labels)} labels. The two files do not belong together."
            )
        if len(images) == 0:
            raise DataError(f"{name}: expected at least one image; the files hold none.")
        outside = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(outside):
            raise DataError(
                f"{name}: expected labels 0 to {len(self.classes) - 1}; "
                f"got {labels[outside[0]]} at position {outside[0]}."
            )
        self.images = images
        self.labels = labels.astype(np.int64)
        self.mean, self.std = mean, std
        # (C, 1, 1), to broadcast over a batch.
        self._mean = np.asarray(mean, np.float32).reshape(-1, 1, 1)
        self._std = np.asarray(std, np.float32).reshape(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """Image (C, H, W) float32, standardised, and its label."""
        return self.standardise(self.images[index][None])[0], int(self.labels[index])

    def batch(self, indices: Indices) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, C, H, W) float32, standardised, and labels (n,) int64."""
        indices = np.asarray(indices, dtype=None if len(indices) else np.intp)
        return self.standardise(self.images[indices]), self.labels[indices]

    def standardise(self, images: np.ndarray) -> np.ndarray:
        """Turn uint8 images (n, H, W) or (n, C, H, W) into what a network takes: (n, C, H, W) float32."""
        x = images.reshape(-1, *self.input_shape).astype(np.float32)
        x /= np.float32(255)
        x -= self._mean
        x /= self._std
        return x
