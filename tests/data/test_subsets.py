"""Subset, random_split and ConcatDataset give the items that indexing would."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.data import ConcatDataset, DataLoader, Dataset, Digits, Subset, TensorDataset, random_split
from gpunn.errors import DataError, DTypeError, ShapeError, UsageError
from gpunn.random import Generator, default_generator


def numbered(n: int, first: int = 0) -> TensorDataset:
    numbers = np.arange(first, first + n)
    return TensorDataset(numbers[:, None] + np.array([0, 0.25], np.float32), numbers)


def labels(dataset) -> list[int]:
    return [int(dataset[i][1]) for i in range(len(dataset))]


class Items(Dataset):
    """A dataset without a batch of its own."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


# -- Subset --------------------------------------------------------------------------------


@settings(max_examples=50)
@given(data=st.data(), n=st.integers(1, 20))
def test_a_subset_is_indexing(data, n):
    chosen = data.draw(st.lists(st.integers(-n, n - 1), max_size=30))
    part = Subset(numbered(n), chosen)
    expected = np.arange(n)[chosen] if chosen else np.empty(0)
    assert len(part) == len(chosen)
    np.testing.assert_array_equal(labels(part), expected)
    places = data.draw(st.lists(st.integers(-len(chosen), len(chosen) - 1), max_size=10)) if chosen else []
    rows, numbers = part.batch(places)
    np.testing.assert_array_equal(numbers, expected[places] if places else [])
    np.testing.assert_array_equal(rows[:, 1], np.asarray(numbers) + 0.25)


def test_a_subset_of_a_list_and_of_a_subset():
    outer = Subset(Subset([(i, i * i) for i in range(10)], [9, 8, 7, 6]), [3, 0])
    assert [tuple(int(v) for v in item) for item in iter(outer)] == [(6, 36), (9, 81)]
    (x, y), *_ = DataLoader(outer, batch_size=2)
    assert (x.tolist(), y.tolist()) == ([6, 9], [36, 81])


def test_a_subset_knows_its_datasets_classes():
    pytest.importorskip("sklearn")
    digits = Digits(train=False)
    part: Any = Subset(digits, range(5))
    assert (part.classes, part.input_shape) == (digits.classes, (1, 28, 28))
    np.testing.assert_array_equal(part.batch([4])[0], digits.batch([4])[0])
    assert not hasattr(Subset(numbered(3), [0]), "classes")


@pytest.mark.parametrize("index", [3, -4])
def test_indices_out_of_range(index):
    with pytest.raises(IndexError, match=f"Subset: index {index} is out of range for 3 items"):
        Subset(numbered(3), [0, index])
    with pytest.raises(IndexError, match=f"index {index} is out of range for 3"):
        Subset(numbered(9), [1, 2, 3]).batch([index])
    with pytest.raises(UsageError, match="whole numbers as indices; got float64"):
        Subset(numbered(3), cast(Any, [0.5]))


# -- random_split --------------------------------------------------------------------------


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(sum), seed=st.integers(0, 99))
def test_every_item_is_dealt_once(sizes, seed):
    parts = random_split(numbered(sum(sizes)), sizes, Generator(seed))
    assert [len(part) for part in parts] == sizes
    assert sorted(i for part in parts for i in labels(part)) == list(range(sum(sizes)))
    again = random_split(numbered(sum(sizes)), sizes, Generator(seed))
    assert list(map(labels, parts)) == list(map(labels, again))


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1], [1.0], [0.0, 1.0], [1 / 3] * 3])
@pytest.mark.parametrize("n", [1, 7, 10, 100])
def test_fractions_are_pytorchs(fractions, n):
    torch = pytest.importorskip("torch")
    sizes = [len(part) for part in random_split(numbered(n), fractions)]
    assert sum(sizes) == n
    if sum(fractions) <= 1:  # PyTorch takes no sum that rounding brought above 1
        known = [math.floor(n * f) for f in fractions]
        if all(known):  # it warns of empty parts
            reference = torch.utils.data.random_split(range(n), fractions)
            assert sizes == [len(part) for part in reference]


def test_the_default_generator_decides_and_is_left_alone():
    state = default_generator().get_state()
    first = list(map(labels, random_split(numbered(30), [20, 10])))
    second = list(map(labels, random_split(numbered(30), [20, 10])))
    assert default_generator().get_state()["counter"] == state["counter"]
    default_generator().set_state(state)
    assert list(map(labels, random_split(numbered(30), [20, 10]))) == first != second


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5, 4], r"add up to the dataset's 10 items; got \[5, 4\], together 9"),
        ([11, -1], "lengths of at least 0"),
        ([], "lengths of at least 0"),
        ([0.5, 0.4], "fractions that add up to 1"),
        ([float("nan"), 1.0], "lengths of at least 0"),
    ],
)
def test_lengths_that_do_not_fit(lengths, message):
    with pytest.raises(UsageError, match=f"random_split: expected .*{message}"):
        random_split(numbered(10), lengths)


# -- ConcatDataset -------------------------------------------------------------------------


@settings(max_examples=50)
@given(data=st.data(), sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(sum))
def test_several_in_a_row_are_one_long(data, sizes):
    parts = [numbered(size, 100 * i) for i, size in enumerate(sizes)]
    long = np.concatenate([part.arrays[1] for part in parts])
    both = ConcatDataset(parts)
    assert labels(both) == long.tolist()
    assert int(both[-1][1]) == long[-1]
    n = len(long)
    chosen = data.draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=12))
    rows, numbers = both.batch(chosen)
    np.testing.assert_array_equal(numbers, long[chosen])
    np.testing.assert_array_equal(rows[:, 1], np.float32(long[chosen]) + np.float32(0.25))


def test_plus_is_concatenation_and_iteration_ends():
    both = Items([1, 2]) + numbered(0) + [3]
    assert list(iter(both)) == [1, 2, 3]
    assert isinstance(both, ConcatDataset)
    loader = DataLoader(Items([1, 2]) + Items([3]), batch_size=3)
    assert [x.tolist() for (x,) in loader] == [[1, 2, 3]]


def test_datasets_that_do_not_go_together():
    a = Items([(np.zeros(2, np.float32), 1)])
    for other, kind, message in (
        ((np.zeros(3, np.float32), 1), ShapeError, r"field 0 has shape \(2,\) in dataset 0, \(3,\) in dataset 1"),
        ((np.zeros(2), 1), DTypeError, "field 0 is float32 in dataset 0, float64 in dataset 1"),
        (1, DataError, "items of dataset 0 have 2 fields, of dataset 1 1"),
    ):
        with pytest.raises(kind, match=message):
            (a + Items([other])).batch([0, 1])
    with pytest.raises(UsageError, match="at least one dataset"):
        ConcatDataset([])
    with pytest.raises(IndexError, match="index 2 is out of range for 2 items"):
        _ = (a + a)[2]
    with pytest.raises(DataError, match="at least one item"):
        (a + a).batch([])
