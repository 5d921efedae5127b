"""Samplers: PyTorch's orders where nothing is random; elsewhere what has to come, and how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import ShapeError, UsageError
from gpunn.utils.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def wrong(value: Any) -> Any:
    """What no type checker lets pass."""
    return value


@settings(deadline=None, max_examples=50)
@given(n=st.integers(0, 30), size=st.integers(1, 12), drop_last=st.booleans())
def test_batches_of_indices_are_pytorchs(n: int, size: int, drop_last: bool) -> None:
    torch = pytest.importorskip("torch")
    mine = BatchSampler(SequentialSampler(range(n)), size, drop_last)
    theirs = torch.utils.data.BatchSampler(torch.utils.data.SequentialSampler(range(n)), size, drop_last)
    assert (list(mine), len(mine)) == (list(theirs), len(theirs))


@pytest.mark.parametrize("n_samples", [None, 1, 7, 10, 25])
def test_orders_without_replacement_have_every_index_before_any_comes_again(n_samples: int | None) -> None:
    sampler = RandomSampler(range(10), num_samples=n_samples, generator=gpunn.Generator(3))
    order = list(sampler)
    assert len(order) == len(sampler) == (n_samples or 10)
    for begun in range(0, len(order), 10):
        part = order[begun : begun + 10]
        assert len({*part} & {*range(10)}) == len(part)
    assert list(sampler) != order or n_samples == 1


def test_with_replacement_every_index_is_as_likely() -> None:
    order = list(RandomSampler(range(5), replacement=True, num_samples=10_000, generator=gpunn.Generator(0)))
    # Counts are binomial, of deviation 40: five of them, and the seed is fixed.
    assert sorted(Counter(order)) == [0, 1, 2, 3, 4]
    assert all(abs(count - 2000) < 200 for count in Counter(order).values())


def test_a_subset_in_random_order() -> None:
    sampler = SubsetRandomSampler([7, 7, 9, 1], gpunn.Generator(0))
    orders = [tuple(sampler) for _ in range(10)]
    assert all(sorted(order) == [1, 7, 7, 9] for order in orders)
    assert len({*orders}) > 1
    assert len(sampler) == 4


def test_weights_are_probabilities() -> None:
    weights = gpunn.tensor([1.0, 0.0, 3.0, 4.0])
    counts = Counter(WeightedRandomSampler(weights, 8000, generator=gpunn.Generator(1)))  # type: ignore[arg-type]
    assert 1 not in counts
    for index, wanted in ((0, 1000), (2, 3000), (3, 4000)):
        assert abs(counts[index] - wanted) < 225  # five deviations of at most 45


def test_weights_without_replacement() -> None:
    generator = gpunn.Generator(2)
    first: Counter[int] = Counter()
    for _ in range(2000):
        order = list(WeightedRandomSampler([1, 0, 3], 2, replacement=False, generator=generator))
        assert sorted(order) == [0, 2]
        first[order[0]] += 1
    assert abs(first[2] - 1500) < 97  # five deviations of 19.4


def test_the_default_generator_decides() -> None:
    def orders() -> list[list[int]]:
        gpunn.manual_seed(5)
        samplers: list[Any] = [RandomSampler(range(20)), SubsetRandomSampler(range(20))]
        samplers.append(WeightedRandomSampler(np.ones(20).tolist(), 20))
        return [list(sampler) for sampler in samplers for _ in range(2)]

    first = orders()
    assert first == orders()
    assert len({*map(tuple, first)}) == len(first)


def test_a_sampler_of_ones_own_defines_iter() -> None:
    class Even(Sampler[int]):
        def __iter__(self) -> Any:
            return iter([0, 2, 4])

    assert list(BatchSampler(Even(), 2, True)) == [[0, 2]]
    with pytest.raises(NotImplementedError, match="__iter__"):
        iter(Sampler())
    with pytest.raises(TypeError):
        len(Even())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomSampler([]), UsageError, "at least one; got 0"),
        (lambda: RandomSampler([1], num_samples=0), UsageError, "at least one; got 0"),
        (lambda: RandomSampler([1], replacement=wrong(1)), UsageError, "replacement: expected True or False"),
        (lambda: RandomSampler([1], generator=wrong(3)), UsageError, "gpunn.Generator"),
        (lambda: SequentialSampler(wrong(3)), UsageError, "data_source: expected something with a length"),
        (lambda: WeightedRandomSampler(wrong([[1.0]]), 1), ShapeError, r"shape \(1, 1\)"),
        (lambda: WeightedRandomSampler([1.0, -1.0], 1), UsageError, "at least 0"),
        (lambda: WeightedRandomSampler([0.0, 0.0], 1), UsageError, "at least 1 positive"),
        (lambda: WeightedRandomSampler([1.0, 0.0], 2, False), UsageError, "at least 2 positive.*replacement=True"),
        (lambda: WeightedRandomSampler([1.0], 0), UsageError, "num_samples: .*at least 1"),
        (lambda: BatchSampler(wrong(3), 1, False), UsageError, "sampler: expected an iterable"),
        (lambda: BatchSampler([1], 0, False), UsageError, "batch_size: .*at least 1"),
        (lambda: BatchSampler([1], 1, None), UsageError, "drop_last: expected True or False"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
