"""Datasets: numbered items on the host, taken one at a time or a batch at once.

A dataset never knows about devices or order; that is the DataLoader's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, RangeError, ShapeError, UsageError

Indices = Sequence[int] | np.ndarray


class Dataset:
    """Base class: define ``__len__`` and ``__getitem__``, and ``batch`` too where that can be faster.

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

    def __add__(self, other: Any) -> Dataset:
        """The items of both datasets in a row: ``ConcatDataset([self, other])``."""
        from gpunn.data.subsets import ConcatDataset

        return ConcatDataset([self, other])


def check_dataset(name: str, dataset: Any) -> Any:
    """The dataset; UsageError unless it has a length and items."""
    if isinstance(dataset, type) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise UsageError(
            f"{name}: expected a dataset with __len__ and __getitem__; got {type(dataset).__name__}. "
            "Derive it from gpunn.data.Dataset, or put the items in a list."
        )
    return dataset


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
        The given arrays, on the host.

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
        try:
            return tuple(array[index] for array in self.arrays)
        except IndexError as error:
            raise RangeError(f"TensorDataset: index {index!r} is out of range for {len(self)} items.") from error

    def batch(self, indices: Indices) -> tuple[np.ndarray, ...]:
        """Items ``indices``: one copy per array."""
        indices = np.asarray(indices, dtype=None if len(indices) else np.intp)
        return tuple(array[indices] for array in self.arrays)
