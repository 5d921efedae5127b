"""Datasets made of other datasets: a selection of items, a random split, several in a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunn.data.dataset import Dataset, Indices, check_dataset, stack_items
from gpunn.errors import DataError, DTypeError, RangeError, ShapeError, UsageError
from gpunn.random import Generator, default_generator


def _batch(dataset: Any, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    take = getattr(dataset, "batch", None)
    fields: tuple[np.ndarray, ...] = stack_items(dataset, indices) if take is None else take(indices)
    return fields


def _inside(name: str, indices: Any, n: int) -> np.ndarray:
    """Indices as an array, none negative."""
    found = np.asarray(indices, dtype=None if len(indices) else np.intp)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise UsageError(f"{name}: expected a sequence of whole numbers as indices; got {found.dtype} {found.shape}.")
    outside = np.flatnonzero((found < -n) | (found >= n))
    if len(outside):
        raise RangeError(f"{name}: index {found[outside[0]]} is out of range for {n} items.")
    return np.where(found < 0, found + n, found)


class Subset(Dataset):
    """Some items of a dataset, in a given order.

    Parameters
    ----------
    dataset : Dataset
        Or anything with ``__len__`` and ``__getitem__``.
    indices : sequence of int
        Which items, in which order; an item may occur more than once.

    Attributes
    ----------
    dataset : Dataset
    indices : numpy.ndarray
        (n,) as given, counted from the front.
    classes, input_shape
        The dataset's, if it has them.

    Raises
    ------
    UsageError
        If an index is not a whole number.
    RangeError
        If an index is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.data import Subset, TensorDataset
    >>> part = Subset(TensorDataset(np.arange(10)), [7, 2])
    >>> len(part), part.batch([1, 0])[0].tolist()
    (2, [2, 7])
    """

    def __init__(self, dataset: Any, indices: Indices) -> None:
        self.dataset = check_dataset("Subset", dataset)
        self.indices = _inside("Subset", indices, len(dataset))
        for name in ("classes", "input_shape"):
            if hasattr(dataset, name):
                setattr(self, name, getattr(dataset, name))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        """The dataset's item ``indices[index]``."""
        (position,) = self.indices[_inside("Subset", [index], len(self))].tolist()
        return self.dataset[position]

    def batch(self, indices: Indices) -> tuple[np.ndarray, ...]:
        """Items ``indices`` of this part, by the dataset's own :meth:`batch`."""
        return _batch(self.dataset, self.indices[_inside("Subset", indices, len(self))])


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator | None = None) -> list[Subset]:
    """Split a dataset's items at random into parts of given sizes, each item once.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int or of float
        Sizes that add up to the dataset's, or fractions that add up to 1: each is rounded down,
        and what remains goes to the first parts, one each.
    generator : Generator, optional
        The source of randomness. Default: one of its own, spawned from the default generator, so
        that ``gpunn.manual_seed`` before it determines the split.

    Returns
    -------
    list of Subset

    Raises
    ------
    UsageError
        If a length is negative, or they add up to something else.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25], gpunn.Generator(0))]
    [8, 2]
    """
    return [Subset(dataset, part) for part in deal(dataset, lengths, generator)]


def deal(dataset: Any, lengths: Sequence[float], generator: Generator | None) -> list[np.ndarray]:
    """The indices of :func:`random_split`'s parts."""
    n = len(check_dataset("random_split", dataset))
    sizes = [float(length) for length in lengths]
    if not sizes or not all(size >= 0 and math.isfinite(size) for size in sizes):
        raise UsageError(f"random_split: expected lengths of at least 0; got {list(lengths)}.")
    if any(isinstance(length, float | np.floating) for length in lengths):
        if not math.isclose(sum(sizes), 1):
            raise UsageError(f"random_split: expected fractions that add up to 1; got {list(lengths)}.")
        counts = [math.floor(n * size) for size in sizes]
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(size) for size in sizes]
        if sum(counts) != n:
            raise UsageError(
                f"random_split: expected lengths that add up to the dataset's {n} items; got {list(lengths)}, "
                f"together {sum(counts)}."
            )
    source = default_generator().spawn("random_split") if generator is None else generator
    order = source.permutation(n)
    ends = np.cumsum(counts)
    return [order[end - count : end] for count, end in zip(counts, ends, strict=True)]


class ConcatDataset(Dataset):
    """Several datasets in a row; ``a + b`` is the same as ``ConcatDataset([a, b])``.

    Parameters
    ----------
    datasets : iterable of Dataset
        One or more, whose items have the same fields.

    Attributes
    ----------
    datasets : list of Dataset
    cumulative_sizes : list of int
        Where each ends.

    Raises
    ------
    UsageError
        If there is no dataset.
    DataError, ShapeError, DTypeError
        When a batch is taken from datasets whose fields differ in number, shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.data import TensorDataset
    >>> both = TensorDataset(np.arange(3)) + TensorDataset(np.arange(10, 12))
    >>> len(both), both.batch([4, 0, 3])[0].tolist()
    (5, [11, 0, 10])
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = [check_dataset("ConcatDataset", dataset) for dataset in datasets]
        if not self.datasets:
            raise UsageError("ConcatDataset: expected at least one dataset; got none.")
        self.cumulative_sizes: list[int] = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        """The item of the dataset that ``index`` falls into."""
        (position,) = _inside("ConcatDataset", [index], len(self)).tolist()
        part = int(np.searchsorted(self.cumulative_sizes, position, side="right"))
        return self.datasets[part][position - self._start(part)]

    def _start(self, part: int) -> int:
        return self.cumulative_sizes[part - 1] if part else 0

    def batch(self, indices: Indices) -> tuple[np.ndarray, ...]:
        """Items ``indices``, taken from each dataset in one batch and put in the requested order."""
        positions = _inside("ConcatDataset", indices, len(self))
        parts = np.searchsorted(self.cumulative_sizes, positions, side="right")
        used = np.unique(parts).tolist()
        if not used:
            raise DataError("ConcatDataset: expected at least one item to make a batch of; got none.")
        places = [np.flatnonzero(parts == part) for part in used]
        batches = [
            _batch(self.datasets[part], positions[place] - self._start(part))
            for part, place in zip(used, places, strict=True)
        ]
        if len(batches) == 1:
            return batches[0]
        first = batches[0]
        for part, fields in zip(used[1:], batches[1:], strict=True):
            _check_alike(first, fields, f"dataset {used[0]}", f"dataset {part}")
        gathered = tuple(np.empty((len(positions), *field.shape[1:]), field.dtype) for field in first)
        for place, fields in zip(places, batches, strict=True):
            for whole, field in zip(gathered, fields, strict=True):
                whole[place] = field
        return gathered


def _check_alike(first: Sequence[np.ndarray], other: Sequence[np.ndarray], a: str, b: str) -> None:
    if len(first) != len(other):
        raise DataError(f"ConcatDataset: items of {a} have {len(first)} fields, of {b} {len(other)}.")
    for i, (x, y) in enumerate(zip(first, other, strict=True)):
        if x.shape[1:] != y.shape[1:]:
            raise ShapeError(f"ConcatDataset: field {i} has shape {x.shape[1:]} in {a}, {y.shape[1:]} in {b}.")
        if x.dtype != y.dtype:
            raise DTypeError(f"ConcatDataset: field {i} is {x.dtype} in {a}, {y.dtype} in {b}.")
