"""Which items, in which order: samplers with PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError
from gpunn.random import Generator, default_generator, generator_of

_Index = TypeVar("_Index", covariant=True)


class Sampler(Generic[_Index]):
    """Base class: define ``__iter__``, which yields the indices of an epoch, and ``__len__`` if it is known."""

    def __iter__(self) -> Iterator[_Index]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ... up to the length of the dataset.

    Parameters
    ----------
    data_source : dataset with a length
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = _sized("SequentialSampler", "data_source", data_source)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A new random order for each epoch.

    Parameters
    ----------
    data_source : dataset with a length
    replacement : bool
        Draw each index by itself, so that some come more than once.
    num_samples : int, optional
        How many indices. Default: as many as there are items. Without replacement a larger number begins another
        order when one is used up.
    generator : Generator, optional
        Default: one spawned from the default generator for each epoch.

    Raises
    ------
    UsageError
        If there is nothing to draw.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = _sized("RandomSampler", "data_source", data_source)
        self.replacement = _truth("RandomSampler", "replacement", replacement)
        self._num_samples = None if num_samples is None else whole_number("RandomSampler", "num_samples", num_samples)
        self.generator = _optional("RandomSampler", generator)
        if self.num_samples <= 0:
            raise UsageError(
                f"RandomSampler: num_samples: expected at least one; got {self.num_samples}. Is the dataset empty?"
            )

    @property
    def num_samples(self) -> int:
        """How many indices an epoch has."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        source = _source("RandomSampler", self.generator)
        if self.replacement:
            yield from source.integers(n, (self.num_samples,)).tolist()
            return
        for begun in range(0, self.num_samples, n):
            yield from source.permutation(n)[: self.num_samples - begun].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices in a new random order for each epoch.

    Parameters
    ----------
    indices : sequence of int
    generator : Generator, optional
        Default: one spawned from the default generator for each epoch.
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = _sized("SubsetRandomSampler", "indices", indices)
        self.generator = _optional("SubsetRandomSampler", generator)

    def __iter__(self) -> Iterator[int]:
        for i in _source("SubsetRandomSampler", self.generator).permutation(len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices drawn with given probabilities, such as the inverse counts of classes.

    Parameters
    ----------
    weights : sequence of float
        One for each item, not negative; they need not add up to 1.
    num_samples : int
        How many indices.
    replacement : bool
        Draw each by itself; otherwise no index comes twice.
    generator : Generator, optional
        Default: one spawned from the default generator for each epoch.

    Attributes
    ----------
    weights : numpy.ndarray
        (n,) float64.

    Raises
    ------
    ShapeError
        If ``weights`` is no sequence of numbers.
    UsageError
        If a weight is negative or not finite, or fewer are positive than have to be drawn.

    References
    ----------
    Without replacement the smallest of E_i / w_i are taken, with E_i exponential: Efraimidis, Spirakis 2006, "Weighted
    random sampling with a reservoir", Information Processing Letters 97(5).
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        name = "WeightedRandomSampler"
        given = weights.detach().numpy() if isinstance(weights, Tensor) else weights
        try:
            self.weights = np.array(given, np.float64)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"{name}: weights: expected a sequence of numbers; got {type(weights).__name__}."
            ) from error
        if self.weights.ndim != 1:
            raise ShapeError(f"{name}: weights: expected one number an item; got shape {self.weights.shape}.")
        self.num_samples = whole_number(name, "num_samples", num_samples, 1)
        self.replacement = _truth(name, "replacement", replacement)
        self.generator = _optional(name, generator)
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise UsageError(f"{name}: weights: expected finite numbers of at least 0.")
        positive, wanted = np.count_nonzero(self.weights), 1 if self.replacement else self.num_samples
        if positive < wanted or not math.isfinite(self.weights.sum()):
            raise UsageError(
                f"{name}: weights: expected at least {wanted} positive ones, of a finite sum; got {positive}. "
                "With replacement=True an item may come more than once."
            )

    def __iter__(self) -> Iterator[int]:
        source = _source("WeightedRandomSampler", self.generator)
        drawn = np.flatnonzero(self.weights)  # the others never come, whatever is rounded
        weights = self.weights[drawn]
        if self.replacement:
            ends = np.cumsum(weights)
            places = np.searchsorted(
                ends, source.uniform(0.0, 1.0, (self.num_samples,), np.float64) * ends[-1], "right"
            )
            places = np.minimum(places, len(drawn) - 1)  # a product may be rounded up to the sum itself
        else:
            times = -np.log1p(-source.uniform(0.0, 1.0, (len(drawn),), np.float64))
            with np.errstate(over="ignore"):
                places = np.argsort(times / weights, kind="stable")[: self.num_samples]
        yield from drawn[places].tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of the indices of another sampler.

    Parameters
    ----------
    sampler : iterable of int
    batch_size : int
        Indices in a list.
    drop_last : bool
        Leave out a last list that is shorter.

    Examples
    --------
    >>> from gpunn.utils.data import BatchSampler, SequentialSampler
    >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not (hasattr(sampler, "__iter__") or hasattr(sampler, "__getitem__")):
            raise UsageError(f"BatchSampler: sampler: expected an iterable; got {type(sampler).__name__}.")
        self.sampler: Any = sampler
        self.batch_size = whole_number("BatchSampler", "batch_size", batch_size, 1)
        self.drop_last = _truth("BatchSampler", "drop_last", drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


def _sized(op: str, name: str, value: Any) -> Any:
    if isinstance(value, type) or not hasattr(value, "__len__"):
        raise UsageError(f"{op}: {name}: expected something with a length; got {type(value).__name__}.")
    return value


def _truth(op: str, name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{op}: {name}: expected True or False; got {value!r}.")
    return bool(value)


def _optional(op: str, generator: Any) -> Generator | None:
    return None if generator is None else generator_of(op, generator)


def _source(label: str, generator: Generator | None) -> Generator:
    return default_generator().spawn(label) if generator is None else generator
