"""Datasets with PyTorch's names: by number, as a stream, and made of others."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from gpunn._tensor import Tensor
from gpunn.data.subsets import deal
from gpunn.errors import RangeError, ShapeError, UsageError
from gpunn.random import Generator

_Item = TypeVar("_Item", covariant=True)


class Dataset(Generic[_Item]):
    """Base class of datasets by number: define ``__getitem__``, and ``__len__`` for samplers that need it.

    ``__getitems__(indices)``, which returns a list of items, may be defined too, where that is faster.

    Examples
    --------
    >>> from gpunn.utils.data import DataLoader, Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 5
    ...     def __getitem__(self, index):
    ...         return {"x": index, "name": f"item {index}"}
    >>> next(iter(DataLoader(Squares(), batch_size=2)))
    {'x': tensor([0, 1]), 'name': ['item 0', 'item 1']}
    """

    def __getitem__(self, index: Any) -> _Item:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other: Any) -> Any:
        """The items of both datasets in a row."""
        return ConcatDataset([self, other])


class IterableDataset(Dataset[_Item]):
    """Base class of datasets that are streams: define ``__iter__``.

    With workers each of them iterates over a copy of the dataset: :func:`get_worker_info` tells which part is its.
    """

    def __iter__(self) -> Iterator[_Item]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def __add__(self, other: Any) -> ChainDataset:
        """The items of both streams, one after the other."""
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Tensors of equal length; item i is a tuple of the i-th element of each, as tensors.

    Parameters
    ----------
    *tensors : Tensor
        (n, ...) each, of any dtype.

    Attributes
    ----------
    tensors : tuple of Tensor

    Raises
    ------
    ShapeError
        If they differ in length, or one has no axis.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.utils.data import TensorDataset
    >>> TensorDataset(gpunn.arange(6).reshape(3, 2), gpunn.tensor([5, 6, 7]))[1]
    (tensor([2, 3]), tensor(6))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise UsageError("TensorDataset: expected at least one tensor; got none.")
        for position, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise UsageError(
                    f"TensorDataset: expected Tensors; argument {position} is {type(tensor).__name__}. "
                    "Make it one by gpunn.tensor or gpunn.from_numpy."
                )
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ShapeError(f"TensorDataset: expected tensors of one length; got shapes {shapes}.")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset[Any]):
    """Datasets of equal length side by side: item i has the i-th item of each.

    Parameters
    ----------
    *args : dataset
        Items are tuples then.
    **kwargs : dataset
        Items are dicts then. Give one or the other.

    Attributes
    ----------
    datasets : tuple or dict of datasets

    Raises
    ------
    UsageError
        If there is no dataset, or some are named and some are not.
    ShapeError
        If they differ in length.
    """

    datasets: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise UsageError("StackDataset: expected datasets, either all with a name or all without.")
        lengths = [_length("StackDataset", dataset) for dataset in (*args, *kwargs.values())]
        if len(set(lengths)) > 1:
            raise ShapeError(f"StackDataset: expected datasets of one length; got {lengths}.")
        self.datasets = args or kwargs
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[_Item]):
    """Several datasets in a row; ``a + b`` is the same as ``ConcatDataset([a, b])``.

    Parameters
    ----------
    datasets : iterable of datasets
        One or more, by number.

    Attributes
    ----------
    datasets : list
    cumulative_sizes : list of int
        Where each ends.

    Raises
    ------
    UsageError
        If there is none, or one is a stream.
    RangeError
        For an item that is not there.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise UsageError("ConcatDataset: expected at least one dataset; got none.")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
                raise UsageError(
                    f"ConcatDataset: expected datasets by number; got {type(dataset).__name__}. "
                    "ChainDataset joins streams."
                )
        self.cumulative_sizes = list(itertools.accumulate(_length("ConcatDataset", d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> _Item:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise RangeError(f"ConcatDataset: index {index} is out of range for {len(self)} items.")
        part = bisect.bisect_right(self.cumulative_sizes, position)
        item: _Item = self.datasets[part][position - (self.cumulative_sizes[part - 1] if part else 0)]
        return item


class ChainDataset(IterableDataset[Any]):
    """Several streams, one after the other.

    Parameters
    ----------
    datasets : iterable of IterableDataset
        They are begun when their turn comes.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise UsageError(f"ChainDataset: expected IterableDatasets; got {type(dataset).__name__}.")
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


class Subset(Dataset[_Item]):
    """Some items of a dataset, in a given order.

    Parameters
    ----------
    dataset : dataset by number
    indices : sequence of int
        Which items, in which order; an item may occur more than once.

    Attributes
    ----------
    dataset, indices
        As given.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        if not hasattr(dataset, "__getitem__"):
            raise UsageError(f"Subset: expected a dataset by number; got {type(dataset).__name__}.")
        if not hasattr(indices, "__getitem__") or not hasattr(indices, "__len__"):
            raise UsageError(f"Subset: indices: expected a sequence of whole numbers; got {type(indices).__name__}.")
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> _Item:
        if isinstance(index, list):
            chosen: _Item = self.dataset[[self.indices[i] for i in index]]
        else:
            chosen = self.dataset[self.indices[index]]
        return chosen

    def __getitems__(self, indices: list[int]) -> list[_Item]:
        """Several items, by the dataset's own ``__getitems__`` if it has one."""
        return items_of(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def _length(op: str, dataset: Any) -> int:
    if isinstance(dataset, type) or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise UsageError(
            f"{op}: expected datasets with __len__ and __getitem__; got {type(dataset).__name__}. "
            "Derive it from gpunn.utils.data.Dataset, or put the items in a list."
        )
    try:
        return len(dataset)
    except TypeError as error:  # of an array or a tensor without axes
        raise UsageError(f"{op}: expected datasets with a length; got {type(dataset).__name__}: {error}.") from error


def items_of(dataset: Any, indices: list[int]) -> list[Any]:
    """Items ``indices``, in one call where the dataset offers that."""
    take = getattr(dataset, "__getitems__", None)
    return [dataset[i] for i in indices] if take is None else take(indices)


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Split a dataset's items at random into parts of given sizes, each item once.

    Parameters
    ----------
    dataset : dataset with a length
    lengths : sequence of int or of float
        Sizes that add up to the dataset's, or fractions that add up to 1: each is rounded down,
        and what remains goes to the first parts, one each.
    generator : Generator, optional
        Default: one spawned from the default generator, which ``gpunn.manual_seed`` seeds.

    Returns
    -------
    list of Subset

    Raises
    ------
    UsageError
        If a length is negative, or they add up to something else.

    Examples
    --------
    >>> from gpunn.utils.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    return [Subset(dataset, part.tolist()) for part in deal(dataset, lengths, generator)]


def rows(dataset: TensorDataset, indices: list[int]) -> list[Tensor]:
    """A batch of a TensorDataset: the same as its collated items, in one step a tensor."""
    return [tensor[np.asarray(indices, np.int64)] for tensor in dataset.tensors]
