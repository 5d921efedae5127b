"""Workers change neither order nor values nor errors, and are gone however the loop is left."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import numpy as np
import pytest

from gpunn._tensor import Tensor
from gpunn.data import DataLoader, Dataset, TensorDataset
from gpunn.errors import UsageError
from gpunn.random import Generator


def numbered(n: int) -> TensorDataset:
    rows = np.arange(n, dtype=np.float32)[:, None] + np.array([0, 0.25, 0.5], np.float32)
    return TensorDataset(rows, np.arange(n))


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("gpunn-loader")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    assert running() == []
    yield
    assert running() == []


class Gate(Dataset):
    """Items are their numbers. Threads wait at the items that are held until they are released."""

    def __init__(self, n, held=()):
        self.n = n
        self.events = {index: threading.Event() for index in held}
        self.seen = []
        self.reads = threading.Semaphore(0)  # released once an item
        self.threads = set()

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.threads.add(threading.current_thread().name)
        if index in self.events:
            assert self.events[index].wait(30)
        self.seen.append(index)
        self.reads.release()
        return index

    def wait_for_reads(self, count):
        for _ in range(count):
            assert self.reads.acquire(timeout=30)


# -- order and values ----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 7, 40])
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"drop_last": True}, {"sampler": [5, 5, 0, 19, 7]}])
def test_workers_change_nothing(workers, prefetch, options):
    def epochs(**more):
        loader = DataLoader(numbered(20), 3, generator=Generator(3), **options, **more)
        taken = [list(loader), list(loader.batches(start=1)), list(loader)]
        return [[(x.numpy().tolist(), y.numpy().tolist()) for x, y in epoch] for epoch in taken]

    assert epochs(num_workers=workers, prefetch_factor=prefetch) == epochs()


def test_batches_come_in_order_when_a_later_one_is_ready_first():
    data = Gate(4, held=[0])
    loader = iter(DataLoader(data, num_workers=2))
    taken: list[int] = []
    consumer = threading.Thread(target=lambda: taken.extend(int(x.numpy()[0]) for (x,) in loader))
    consumer.start()
    data.wait_for_reads(3)  # while 0 is held
    assert (taken, sorted(data.seen)) == ([], [1, 2, 3])
    data.events[0].set()
    consumer.join()
    assert taken == [0, 1, 2, 3]


def test_no_more_is_read_ahead_than_was_asked_for():
    data = Gate(20)
    batches: Any = iter(DataLoader(data, num_workers=2, prefetch_factor=3))
    next(batches)
    data.wait_for_reads(1 + 6)
    for taken in range(2, 6):
        assert not data.reads.acquire(timeout=0.01)  # time in which another would have been read
        next(batches)
        data.wait_for_reads(1)
        assert sorted(data.seen) == list(range(taken + 6))
    batches.close()


def test_work_is_done_by_the_workers_and_by_none_where_there_are_none():
    data = Gate(4)
    list(DataLoader(data, num_workers=1))
    assert data.threads == {"gpunn-loader-0"}
    data.threads.clear()
    list(DataLoader(data))
    assert data.threads == {threading.current_thread().name}


def test_workers_start_with_the_first_batch_and_orders_are_drawn_before():
    generator, reference = Generator(5), Generator(5)
    iterator: Any = iter(DataLoader(numbered(100), 3, shuffle=True, generator=generator, num_workers=2))
    reference.permutation(100)
    assert generator.get_state() == reference.get_state()
    assert running() == []
    next(iterator)
    assert running() != []
    iterator.close()


def test_workers_see_the_consumers_error_state():
    class Divides(Gate):
        def __getitem__(self, index):
            return np.float32(1) / np.float32(index)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(DataLoader(Divides(2), num_workers=1))
    with np.errstate(divide="ignore"):
        (x,), *_ = DataLoader(Divides(2), num_workers=1)
    assert x.tolist() == [np.inf]


# -- leaving the loop ----------------------------------------------------------------------


class Odd(Exception):
    """Of a class that nobody else raises."""


class Breaks(Gate):
    def __getitem__(self, index):
        if index == 5:
            raise Odd("item 5 is odd")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_comes_at_its_batch_as_it_was_raised(workers):
    taken = []
    batches = (taken.append(x.tolist()) for (x,) in DataLoader(Breaks(20), 2, num_workers=workers))
    with pytest.raises(Odd, match=r"^item 5 is odd$") as caught:
        list(batches)
    assert taken == [[0, 1], [2, 3]]
    assert "__getitem__" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert running() == []


@pytest.mark.parametrize("how", ["break", "exception", "interrupt", "close", "drop", "end"])
@pytest.mark.parametrize("workers", [1, 3])
def test_threads_end_however_the_loop_is_left(how, workers):
    loader = DataLoader(numbered(50), 2, num_workers=workers)

    def loop():
        for number, _ in enumerate(loader):
            assert number or running() != []
            if how == "break":
                break
            if how == "exception":
                raise Odd
            if how == "interrupt":
                raise KeyboardInterrupt

    if how in ("exception", "interrupt"):
        with pytest.raises(Odd if how == "exception" else KeyboardInterrupt):
            loop()
    elif how in ("close", "drop"):
        iterator: Any = iter(loader)
        next(iterator)
        assert running() != []
        if how == "close":
            iterator.close()
            assert running() == []
        del iterator
    else:
        loop()
    assert running() == []
    assert len(list(loader)) == 25  # and the next epoch is whole


def test_leaving_waits_for_the_batch_a_worker_is_at():
    data = Gate(4, held=[1])
    iterator: Any = iter(DataLoader(data, num_workers=1))
    next(iterator)
    closer = threading.Thread(target=iterator.close)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    data.events[1].set()
    closer.join()
    assert (running(), data.seen) == ([], [0, 1])


def test_two_loops_at_once_do_not_mix():
    loader = DataLoader(numbered(12), 3, num_workers=2)
    pairs = [(a.tolist(), b.tolist()) for (_, a), (_, b) in zip(loader, loader, strict=True)]
    assert pairs == [([i, i + 1, i + 2],) * 2 for i in (0, 3, 6, 9)]


# -- the other arguments -------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_collate_makes_the_batch_and_arrays_go_to_the_device(workers):
    def collate(items):
        numbers = np.array(items)
        return {"n": numbers, "names": [str(i) for i in items], "pair": (numbers * 2, [Tensor(numbers * 3, "cpu")])}

    first, *_ = DataLoader(list(range(5)), 2, collate_fn=collate, num_workers=workers)
    assert isinstance(first["n"], Tensor)
    assert (first["n"].tolist(), first["names"]) == ([0, 1], ["0", "1"])
    double, (triple,) = first["pair"]
    assert (double.tolist(), triple.tolist()) == ([0, 2], [0, 3])


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_sampler_decides_which_and_how_many(drop_last):
    loader = DataLoader(numbered(10), 2, sampler=[9, 0, 0, 3, 1], drop_last=drop_last)
    assert [y.tolist() for _, y in loader] == [[9, 0], [0, 3], [1]][: len(loader)]
    assert len(loader) == (2 if drop_last else 3)


def test_a_sampler_that_miscounts_itself():
    class Wrong(list):
        def __len__(self):
            return 4

    with pytest.raises(UsageError, match=r"the sampler \(Wrong\) gave 3 indices; its length is 4"):
        iter(DataLoader(numbered(10), 2, sampler=Wrong([1, 2, 3])))


def test_pytorchs_other_words_are_taken():
    loader = DataLoader(numbered(3), batch_size=2, shuffle=None, pin_memory=True, num_workers=0, prefetch_factor=4)
    assert (loader.shuffle, loader.num_workers, loader.prefetch_factor) == (False, 0, 4)
    assert [y.tolist() for _, y in loader] == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": -1}, "num_workers to be a whole number of at least 0; got -1"),
        ({"num_workers": 1.5}, "num_workers to be a whole number"),
        ({"num_workers": True}, "num_workers to be a whole number"),
        ({"prefetch_factor": 0}, "prefetch_factor to be a whole number of at least 1; got 0"),
        ({"prefetch_factor": 1.5}, "prefetch_factor to be a whole number"),
        ({"sampler": [0], "shuffle": True}, "sampler gives the order itself"),
        ({"sampler": iter([0])}, "a sampler with __len__ and __iter__; got list_iterator"),
        ({"collate_fn": 3}, "collate_fn to be callable; got int"),
        ({"transform": "flip"}, "transform to be callable; got str"),
        ({"generator": np.random.default_rng(0)}, "expected a gpunn.Generator; got Generator"),
    ],
)
def test_arguments_that_make_no_sense(options, message):
    with pytest.raises(UsageError, match=f"DataLoader: .*{message}"):
        DataLoader(numbered(3), **options)
