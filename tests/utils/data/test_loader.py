"""The loader of gpunn.utils.data: PyTorch's batches, with and without workers, which are threads here."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.data import MNIST, Digits
from gpunn.data import TensorDataset as Arrays
from gpunn.errors import ArgumentError, DataError, UsageError
from gpunn.utils import data
from gpunn.utils.data import DataLoader


class Items(data.Dataset[Any]):
    """An image, a label and a name."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return np.full((1, 2), index, np.float32), index % 3, f"item {index}"


class Numbers(data.IterableDataset[int]):
    """The stream from ``start`` to ``end``, of which each worker takes its share."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def __iter__(self) -> Any:
        info = data.get_worker_info()
        return iter(range(self.start + (info.id if info else 0), self.end, info.num_workers if info else 1))

    def __len__(self) -> int:
        return self.end - self.start


def plain(batch: Any) -> Any:
    if hasattr(batch, "tolist"):
        return batch.tolist()
    if isinstance(batch, list | tuple):
        return [type(batch).__name__, *map(plain, batch)]
    return batch


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(0, 13),
    size=st.one_of(st.none(), st.integers(1, 6)),
    drop_last=st.booleans(),
    workers=st.sampled_from([0, 1, 3]),
    stream=st.booleans(),
)
def test_batches_are_pytorchs(n: int, size: int | None, drop_last: bool, workers: int, stream: bool) -> None:
    torch = pytest.importorskip("torch")
    drop_last = drop_last and size is not None

    base: Any = torch.utils.data.IterableDataset

    class Theirs(base):
        def __iter__(self) -> Any:
            return iter(range(n))

        def __len__(self) -> int:
            return n

    # PyTorch's run without processes; a stream shared by several workers comes in another order, see below.
    theirs = torch.utils.data.DataLoader(Theirs() if stream else Items(n), size, drop_last=drop_last)
    workers = min(workers, 1) if stream else workers
    mine = DataLoader(Numbers(0, n) if stream else Items(n), size, drop_last=drop_last, num_workers=workers)
    assert len(mine) == len(theirs)
    assert [plain(batch) for batch in mine] == [plain(batch) for batch in theirs]


@pytest.mark.parametrize("workers", [0, 2])
def test_samplers_decide(workers: int) -> None:
    def taken(**options: Any) -> Any:
        loader = DataLoader([*range(10, 20)], num_workers=workers, **options)
        assert len(loader) == len(list(loader))
        return [batch.tolist() for batch in loader]

    assert taken(sampler=[3, 1, 2], batch_size=2) == [[13, 11], [12]]
    assert taken(batch_sampler=[[0, 1], [], [5]][::2]) == [[10, 11], [15]]
    assert taken(sampler=data.SubsetRandomSampler([4]), batch_size=None, collate_fn=np.asarray) == [14]
    shuffled = taken(shuffle=True, batch_size=4, generator=gpunn.Generator(1))
    assert sorted(i for batch in shuffled for i in batch) == [*range(10, 20)]
    assert [i for batch in shuffled for i in batch] != [*range(10, 20)]


def test_attributes_are_pytorchs() -> None:
    loader = DataLoader(Items(4), 2, shuffle=True)
    assert isinstance(loader.sampler, data.RandomSampler)
    assert isinstance(loader.batch_sampler, data.BatchSampler)
    assert (loader.batch_size, loader.num_workers, loader.prefetch_factor) == (2, 0, None)
    assert loader.collate_fn is data.default_collate
    assert DataLoader(Items(4), None).collate_fn is data.default_convert
    assert DataLoader(Items(4), batch_sampler=[[1]]).batch_size is None
    assert DataLoader(Items(4), num_workers=1).prefetch_factor == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_seeds_repeat_orders(workers: int) -> None:
    def epochs() -> list[list[int]]:
        gpunn.manual_seed(3)
        loader = DataLoader([*range(30)], 30, shuffle=True, num_workers=workers)
        return [batch.tolist() for _ in range(2) for batch in loader]

    first = epochs()
    assert first == epochs()
    assert first[0] != first[1]


def test_a_batch_of_tensors_in_one_step_is_the_collated_one() -> None:
    tensors = gpunn.randn(5, 3, 4, 2), gpunn.arange(5), gpunn.randn(5, 2) > 0
    for indices in ([2, 0], [4, 4, 1]):
        (mine,) = DataLoader(data.TensorDataset(*tensors), batch_sampler=[indices])
        wanted = data.default_collate([data.TensorDataset(*tensors)[i] for i in indices])
        for field, expected in zip(mine, wanted, strict=True):
            assert field.dtype == expected.dtype
            np.testing.assert_array_equal(field.numpy(), expected.numpy())


@pytest.mark.parametrize(
    "make", [lambda: Digits(train=False), lambda: Arrays(np.arange(6.0).reshape(3, 2), np.ones(3))]
)
def test_our_own_datasets_take_their_short_cut(make: Any) -> None:
    dataset = make()
    batch = next(iter(DataLoader(dataset, 3)))
    wanted = data.default_collate([dataset[i] for i in range(3)])
    assert isinstance(batch, list)
    for field, expected in zip(batch, wanted, strict=True):
        assert field.dtype == expected.dtype
        np.testing.assert_array_equal(field.numpy(), expected.numpy())
    assert not issubclass(MNIST, data.Dataset)


# -- workers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_streams_are_shared_and_batches_come_in_turn(workers: int) -> None:
    batches = [batch.tolist() for batch in DataLoader(Numbers(0, 11), 2, num_workers=workers)]
    assert sorted(i for batch in batches for i in batch) == [*range(11)]
    assert batches[:workers] == [[i, i + workers] for i in range(workers)]


def test_each_worker_begins_with_its_number_and_a_copy_of_the_stream() -> None:
    def shift(number: int) -> None:
        info = data.get_worker_info()
        assert info is not None
        assert (info.id, info.num_workers) == (number, 2)
        info.dataset.start += 100 * (number + 1)

    stream = Numbers(0, 204)
    batches = [batch.tolist() for batch in DataLoader(stream, 2, num_workers=2, worker_init_fn=shift)]
    assert batches == [[100, 102], [201, 203], *[[i, i + 2] for i in range(104, 204, 4)]]
    assert (stream.start, data.get_worker_info()) == (0, None)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_are_kept_if_asked_for(persistent: bool) -> None:
    begun: list[int] = []
    loader = DataLoader(Items(4), 2, num_workers=2, persistent_workers=persistent, worker_init_fn=begun.append)
    before = threading.active_count()
    for _ in range(3):
        assert len(list(loader)) == 2
        assert threading.active_count() == before + (2 if persistent else 0)
    assert sorted(begun) == ([0, 1] if persistent else [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_errors_come_where_they_belong(workers: int) -> None:
    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise KeyError("mine")
            return index

    batches = iter(DataLoader(Broken(8), 2, num_workers=workers))
    assert [next(batches).tolist(), next(batches).tolist()] == [[0, 1], [2, 3]]
    with pytest.raises(KeyError, match="mine"):
        next(batches)


def test_an_error_of_a_beginning_worker_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(DataLoader(Items(3), num_workers=1, worker_init_fn=lambda number: 1 // 0))  # type: ignore[arg-type]


def test_threads_end_when_the_loop_is_left_and_samplers_may_be_endless() -> None:
    def forever() -> Any:
        while True:
            yield [1, 0]

    before = threading.active_count()
    read = []

    class Noted(Items):
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return index

    loader = DataLoader(Noted(2), batch_sampler=forever(), num_workers=2, prefetch_factor=3)
    iterator = iter(loader)
    assert next(iterator).tolist() == [1, 0]
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(read) <= 2 * (2 * 3 + 1)  # as far ahead as asked for


def test_waiting_ends() -> None:
    released = threading.Event()

    class Slow(Items):
        def __getitem__(self, index: int) -> Any:
            assert released.wait(30)
            return index

    iterator = iter(DataLoader(Slow(2), num_workers=1, timeout=0.01))
    threading.Timer(0.2, released.set).start()  # the loader waits for its workers before it raises
    with pytest.raises(DataError, match=r"within 0\.01 seconds"):
        next(iterator)


def test_what_workers_draw_does_not_depend_on_which_is_faster() -> None:
    from gpunn.utils.data._workers import random_stream

    class Random(Items):
        def __getitem__(self, index: int) -> Any:
            return random_stream().uniform(0, 1, (2,))

    def drawn(workers: int) -> Any:
        loader = DataLoader(Random(9), 2, num_workers=workers, generator=gpunn.Generator(1))
        return [batch.tolist() for batch in loader]

    assert drawn(1) == drawn(3) == drawn(3)
    assert drawn(1)[0] != drawn(1)[1]


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Items(2), {"shuffle": True, "sampler": [0]}, "leave out shuffle"),
        (Items(2), {"batch_sampler": [[0]], "batch_size": 2}, "leave out batch_size"),
        (Items(2), {"batch_sampler": [[0]], "drop_last": True}, "leave out batch_size"),
        (Items(2), {"batch_size": None, "drop_last": True}, "leave out drop_last"),
        (Items(2), {"batch_size": 0}, "batch_size: .*at least 1"),
        (Items(2), {"num_workers": -1}, "num_workers: .*at least 0"),
        (Items(2), {"timeout": -1}, "timeout"),
        (Items(2), {"prefetch_factor": 2}, "num_workers of at least 1"),
        (Items(2), {"persistent_workers": True}, "num_workers of at least 1"),
        (Items(2), {"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor: .*at least 1"),
        (Items(2), {"collate_fn": 3}, "collate_fn to be callable; got int"),
        (Items(2), {"generator": 3}, "gpunn.Generator"),
        (Items(2), {"multiprocessing_context": "spawn"}, "workers are threads"),
        (Items(0), {"shuffle": True}, "Is the dataset empty"),
        (Numbers(0, 2), {"shuffle": True}, "in its own order"),
        (Numbers(0, 2), {"sampler": [0]}, "in its own order"),
        (Items, {}, "expected a dataset .*got type"),
        (5, {}, "expected a dataset .*got int"),
    ],
)
def test_what_is_refused(dataset: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, ArgumentError), match=f"(?s){message}"):
        DataLoader(dataset, **options)
