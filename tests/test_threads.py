"""The thread pool and the one owner of BLAS's threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from gpunn import threads
from gpunn.errors import UsageError


@pytest.fixture(autouse=True)
def _two_threads():
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    yield
    threads.set_num_threads(before)


def blas_threads() -> list[int]:
    """Threads of the BLAS that was there before the pool was first used: NumPy's. Others' (SciPy's) are not ours."""
    with threads.single_threaded_blas:
        ours = {library["filepath"] for library in threads.single_threaded_blas._controller.info()}
    return [pool["num_threads"] for pool in threadpool_info() if pool["filepath"] in ours]


def test_every_item_once() -> None:
    seen: list[int] = []
    threads.run(seen.append, range(100))
    assert sorted(seen) == list(range(100))


def test_runs_at_the_same_time() -> None:
    meet = threading.Barrier(2, timeout=10)
    threads.run(lambda _: meet.wait(), range(2))


def test_first_failure_is_raised_after_all_threads_are_done() -> None:
    running = []

    def task(i: int) -> None:
        if i == 0:
            raise KeyError(i)
        running.append(i)
        time.sleep(0.05)
        running.remove(i)

    with pytest.raises(KeyError):
        threads.run(task, range(4))
    assert running == []


def test_blas_is_single_threaded_inside_and_restored_after() -> None:
    np.ones((4, 4)) @ np.ones((4, 4))
    before = blas_threads()
    inside: list[list[int]] = []
    threads.run(lambda _: inside.append(blas_threads()), range(2))
    assert all(set(found) <= {1} for found in inside)
    assert blas_threads() == before


def test_overlapping_users_restore_only_when_the_last_leaves() -> None:
    before = blas_threads()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with threads.single_threaded_blas:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    with threads.single_threaded_blas:
        pass
    assert set(blas_threads()) <= {1}, "the other user still needs single-threaded BLAS"
    leave.set()
    thread.join()
    assert blas_threads() == before


@pytest.mark.parametrize(("length", "parts"), [(0, 4), (1, 4), (10, 3), (7, 7), (5, 1)])
def test_spans_cover_everything_once(length: int, parts: int) -> None:
    spans = threads.spans(length, parts)
    assert len(spans) <= parts
    assert [i for s in spans for i in range(s.start, s.stop)] == list(range(length))
    assert all(s.stop > s.start for s in spans)


def test_scratch_is_kept_and_grows() -> None:
    scratch = threads.Scratch()
    small = scratch.array("a", (4,), np.float32)
    assert np.shares_memory(small, scratch.array("a", (2, 2), np.float32))
    assert scratch.array("a", (100,), np.float64).nbytes == 800
    assert not np.shares_memory(scratch.array("a", (4,), np.float32), scratch.array("b", (4,), np.float32))


@pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
def test_refuses(n: object) -> None:
    with pytest.raises(UsageError, match="positive integer"):
        threads.set_num_threads(n)
