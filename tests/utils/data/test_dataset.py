"""Datasets of gpunn.utils.data against PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import GpunnError, RangeError, ShapeError, UsageError
from gpunn.utils import data as typed

data: Any = typed  # so that wrong arguments pass the type checker


def test_tensors_come_as_tensors() -> None:
    x, y = gpunn.arange(12.0).reshape(4, 3), gpunn.tensor([3, 2, 1, 0])
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 4
    assert dataset.tensors[0] is x
    image, label = dataset[-1]
    assert isinstance(image, gpunn.Tensor)
    assert (image.tolist(), label.item(), label.dtype) == ([9, 10, 11], 0, np.int64)
    assert [t.shape for t in dataset[1:3]] == [(2, 3), (2,)]
    assert len(list(dataset)) == 4  # iteration ends by IndexError


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.3, 0.3, 0.4], [0.75, 0.25], [1.0], [1 / 3] * 3])
@pytest.mark.parametrize("n", [1, 7, 10])
def test_splits_have_pytorchs_lengths(fractions: list[float], n: int) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of parts without items
        theirs = [len(part) for part in torch.utils.data.random_split(range(n), fractions)]
    parts = data.random_split(range(n), fractions, generator=gpunn.Generator(0))
    assert [len(part) for part in parts] == theirs
    assert sorted(i for part in parts for i in part.indices) == [*range(n)]
    assert sorted(item for part in parts for item in part) == [*range(n)]


def test_a_seed_gives_a_split() -> None:
    first, second = (
        [part.indices for part in data.random_split(range(20), [15, 5], gpunn.Generator(4))] for _ in range(2)
    )
    assert first == second
    gpunn.manual_seed(0)
    assert [part.indices for part in data.random_split(range(20), [15, 5])] != first


def test_a_subset_takes_what_its_dataset_takes() -> None:
    part = data.Subset([5, 6, 7, 8], [3, 0, 0])
    assert ([*part], len(part), part[-1]) == ([8, 5, 5], 3, 5)
    assert data.Subset(np.arange(10) * 2, [4, 1])[[1, 0]].tolist() == [2, 8]

    class Batched(data.Dataset[int]):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [-i for i in indices]

    assert data.Subset(data.Subset(Batched(), [9, 8, 7]), [2, 0]).__getitems__([0, 1]) == [-7, -9]


def test_several_in_a_row_and_side_by_side() -> None:
    class Letters(data.Dataset[str]):
        def __getitem__(self, index: int) -> str:
            return "abc"[index]

        def __len__(self) -> int:
            return 3

    both: Any = Letters() + data.Subset([1, 2], [0, 1])
    assert [both[i] for i in (0, 3, -1, -5)] == ["a", 1, 2, "a"]
    assert (len(both), both.cumulative_sizes) == (5, [3, 5])
    for index in (5, -6):
        with pytest.raises(RangeError, match=f"index {index} is out of range for 5"):
            both[index]
    assert data.StackDataset(Letters(), [1, 2, 3])[1] == ("b", 2)
    named = data.StackDataset(letter=Letters(), number=[1, 2, 3])
    assert (named[2], len(named)) == ({"letter": "c", "number": 3}, 3)


class Count(data.IterableDataset[int]):
    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def __iter__(self) -> Any:
        return iter(range(self.start, self.end))

    def __len__(self) -> int:
        return self.end - self.start


def test_streams_in_a_row() -> None:
    both = Count(0, 3) + Count(7, 9)
    assert isinstance(both, data.ChainDataset)
    assert (list(both), len(both)) == ([0, 1, 2, 7, 8], 5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: data.TensorDataset(), UsageError, "at least one tensor"),
        (
            lambda: data.TensorDataset(gpunn.ones(2), gpunn.ones(3)),
            ShapeError,
            r"one length; got shapes \[\(2,\), \(3,\)\]",
        ),
        (lambda: data.TensorDataset(gpunn.tensor(1)), ShapeError, "one length"),
        (lambda: data.TensorDataset([1, 2]), GpunnError, "TensorDataset: .*expected.*Tensor.*list"),
        (lambda: data.ConcatDataset([]), UsageError, "at least one dataset"),
        (lambda: data.ConcatDataset([Count(0, 1)]), UsageError, "by number; got Count.*ChainDataset"),
        (lambda: list(data.ChainDataset([[1]])), UsageError, "IterableDatasets; got list"),
        (lambda: data.StackDataset(), UsageError, "with a name or all without"),
        (lambda: data.StackDataset([1], a=[1]), UsageError, "with a name or all without"),
        (lambda: data.StackDataset([1], [1, 2]), ShapeError, r"one length; got \[1, 2\]"),
        (lambda: data.Subset(3, [0]), UsageError, "by number; got int"),
        (lambda: data.Subset([1], 0), UsageError, "sequence of whole numbers; got int"),
        (lambda: data.random_split([1, 2], [1]), UsageError, "add up to the dataset's 2"),
        (lambda: data.Dataset()[0], NotImplementedError, "Dataset must define __getitem__"),
        (lambda: iter(data.IterableDataset()), NotImplementedError, "IterableDataset must define __iter__"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
