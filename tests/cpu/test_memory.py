"""Arrays from memory that is used again: never while anything still sees it."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

from gpunn.cpu import memory

_COUNT = 1 << 16  # float32 of an array that is pooled


@pytest.fixture(autouse=True)
def _own_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_pool", memory._Pool(1 << 22))


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_an_array_like_any_other() -> None:
    a = memory.empty((3, _COUNT), np.float64)
    assert a.flags.c_contiguous
    assert a.flags.writeable
    assert (a.shape, a.dtype) == ((3, _COUNT), np.float64)
    assert address(a) % 64 == 0
    a[...] = 1
    assert a.sum() == 3 * _COUNT
    assert memory.empty_like(a[:, ::2]).flags.c_contiguous


def test_memory_is_used_again_when_the_last_view_is_gone() -> None:
    a = memory.empty((_COUNT,), np.float32)
    at, view = address(a), a[5:].reshape(-1, 1)[::2].view(np.int32)
    del a
    assert memory._pool.unused == 0  # the view still sees it
    b = memory.empty((_COUNT,), np.float32)
    assert address(b) != at
    del view
    assert memory._pool.unused == 4 * _COUNT
    assert address(memory.empty((_COUNT - 1,), np.float32)) == at  # about that size
    assert memory._pool.unused == 4 * _COUNT


def test_in_a_cycle_memory_comes_back_with_the_garbage() -> None:
    holder: list = [memory.empty((_COUNT,), np.float32)]
    holder.append(holder)
    del holder
    gc.collect()
    assert memory._pool.unused == 4 * _COUNT


def test_no_ctrl_c_is_lost_where_an_array_dies() -> None:
    """Python code in a weak reference's callback would swallow a KeyboardInterrupt: it may not run any."""
    ran: list[str] = []
    a = memory.empty((_COUNT,), np.float32)
    sys.setprofile(lambda frame, event, _: ran.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del a
    finally:
        sys.setprofile(None)
    assert ran == []
    assert memory._pool.unused == 4 * _COUNT


def test_small_arrays_are_numpys() -> None:
    a = memory.empty((10,), np.float32)
    assert a.flags.owndata
    assert memory.empty((0, 7), np.float32).shape == (0, 7)
    assert memory.empty((), np.float64).shape == ()


def test_at_most_so_much_lies_unused() -> None:
    many = [memory.empty((_COUNT,), np.float32) for _ in range(40)]
    del many
    assert memory._pool.unused == 1 << 22  # of 40 times 256 KB
    memory._pool.clear()
    assert memory._pool.unused == 0
    assert memory.empty((_COUNT,), np.float32).shape == (_COUNT,)


def test_a_block_that_is_a_little_larger_serves_too() -> None:
    at = address(memory.empty((5 * _COUNT // 4,), np.float32))
    assert address(memory.empty((_COUNT,), np.float32)) == at
    assert memory._pool.unused == 5 * _COUNT


def test_what_fits_nothing_is_given_up_before_the_process_grows() -> None:
    """A DenseNet's layers each have a size of their own: their blocks must not pile up."""
    for count in range(8, 24, 4):
        memory.empty((count * _COUNT // 8,), np.float32)
        assert memory._pool.unused == count * _COUNT // 2
    small, large = memory.empty((_COUNT,), np.float32), memory.empty((3 * _COUNT,), np.float32)
    assert memory._pool.unused == 0
    del small, large
    assert memory._pool.unused == 4 * 4 * _COUNT
    memory.empty((2 * _COUNT,), np.float32)  # the block that was kept longest is not enough
    assert memory._pool.unused == 2 * 4 * _COUNT


@pytest.mark.parametrize("nbytes", [1, 2, 17, 1 << 17, (1 << 17) + 1, 1_000_003, (1 << 30) - 1])
def test_sizes_are_rounded_by_an_eighth_at_most(nbytes: int) -> None:
    rounded = memory._rounded(nbytes)
    assert nbytes <= rounded <= max(nbytes + 1, nbytes * 1.125)
    assert memory._rounded(rounded) == rounded


def test_when_memory_runs_out_what_is_unused_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [memory.empty((_COUNT,), np.float32) for _ in range(5)]
    del many
    assert memory._pool.unused == 5 * 4 * _COUNT
    failed, numpys = [], np.empty

    def empty(*how: Any) -> np.ndarray:
        if memory._pool.unused:
            failed.append(how)
            raise MemoryError
        return numpys(*how)

    monkeypatch.setattr(np, "empty", empty)
    assert memory.empty((3, _COUNT), np.float32).size == 3 * _COUNT
    assert len(failed) == 1


def test_arrays_begin_at_a_cache_line_and_do_not_overlap() -> None:
    a, b = (memory.empty((_COUNT,), np.float32) for _ in range(2))
    assert address(a) % 64 == address(b) % 64 == 0
    a.fill(1)
    b.fill(2)
    assert (a == 1).all()
    assert (b == 2).all()


def test_clear_lets_go_of_the_memory() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        many = [memory.empty((_COUNT,), np.float32) for _ in range(10)]
        held = tracemalloc.get_traced_memory()[0] - before
        del many
        memory._pool.clear()
        assert tracemalloc.get_traced_memory()[0] - before < held / 10
    finally:
        tracemalloc.stop()
    assert held >= 40 * _COUNT


def test_from_many_threads_no_two_arrays_share_memory() -> None:
    wrong = []

    def work(number: int) -> None:
        for _ in range(200):
            a = memory.empty((_COUNT,), np.float32)
            a.fill(number)
            b = memory.empty((_COUNT,), np.float32)
            b.fill(-number)
            if a[0] != number or a[-1] != number or not (a == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
