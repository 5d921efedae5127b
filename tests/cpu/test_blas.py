"""Sums of two vectors by NumPy's BLAS, and BLAS at one thread while somebody needs that: in threads and forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from gpunn.cpu import threads
from gpunn.cpu.blas import axpby, single_threaded_blas


@pytest.mark.parametrize("by_blas", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 1000])
def test_axpby(n: int, dtype: Any, by_blas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    x, y = (rng.standard_normal(n).astype(dtype) for _ in range(2))
    with single_threaded_blas:
        if by_blas:
            if not single_threaded_blas.axpby:
                pytest.skip("NumPy's BLAS has no axpby, as that of NumPy 2.0")
            assert set(single_threaded_blas.axpby) == {np.dtype(np.float32), np.dtype(np.float64)}
        else:
            monkeypatch.setattr(single_threaded_blas, "axpby", {})
        for alpha, beta in ((0.25, -1.5), (dtype(-0.1), 1), (3, dtype(0.9))):
            expected = float(alpha) * x.astype(np.float64) + float(beta) * y
            kept = x.copy()
            axpby(alpha, x, beta, y, np.empty_like(x))
            # Two roundings of numbers below ten.
            np.testing.assert_allclose(y, expected, rtol=0, atol=20 * np.finfo(dtype).eps)
            np.testing.assert_array_equal(x, kept)


def test_axpby_writes_to_its_part_alone() -> None:
    whole, x = np.ones(40, np.float32), np.ones(20, np.float32)
    with single_threaded_blas:
        axpby(1, x, 2, whole[10:30], np.empty_like(x))
    assert whole.tolist() == [1] * 10 + [3] * 20 + [1] * 10


def test_nothing_times_infinity_is_nan() -> None:
    """As in every other body: BLAS would take it for nothing."""
    for alpha, beta in ((0, 1), (1, 0)):
        x, y = (np.array([np.inf, 1], np.float32) for _ in range(2))
        with single_threaded_blas, np.errstate(invalid="ignore"):
            axpby(alpha, x, beta, y, np.empty_like(x))
        assert np.isnan(y[0])
        assert y[1] == 1


def blas_threads() -> list[int]:
    """Threads of the BLAS that was there before the pool was first used: NumPy's. Others' (SciPy's) are not ours."""
    with single_threaded_blas:
        ours = {library.path for library in single_threaded_blas.libraries or ()}
    return [pool["num_threads"] for pool in threadpool_info() if pool["filepath"] in ours]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="the OpenBLAS of NumPy 2.0 hangs in forks of forked processes"
)
def test_a_forked_child_has_blas_threads_although_another_thread_was_inside() -> None:
    code = (
        "import os, sys, threading\n"
        "from gpunn.cpu.blas import single_threaded_blas as single\n"
        "with single:\n"
        "    pass\n"
        "for library in single.libraries:\n"
        "    library.change(3)\n"
        "inside, leave = threading.Event(), threading.Event()\n"
        "def other():\n"
        "    with single:\n"
        "        inside.set()\n"
        "        leave.wait()\n"
        "thread = threading.Thread(target=other)\n"
        "thread.start()\n"
        "inside.wait()\n"
        "numbers = lambda: [library.ask() for library in single.libraries]\n"
        "assert set(numbers()) == {1}\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    right = set(numbers()) == {3}\n"
        "    with single:\n"
        "        right &= set(numbers()) == {1}\n"
        "        if os.fork() == 0:\n"  # the thread that forks stays inside
        "            os._exit(0 if set(numbers()) == {1} else 1)\n"
        "        right &= os.waitstatus_to_exitcode(os.wait()[1]) == 0\n"
        "    os._exit(0 if right and set(numbers()) == {3} else 1)\n"
        "leave.set()\n"
        "thread.join()\n"
        "assert set(numbers()) == {3}\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


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
        with single_threaded_blas:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    with single_threaded_blas:
        pass
    assert set(blas_threads()) <= {1}, "the other user still needs single-threaded BLAS"
    leave.set()
    thread.join()
    assert blas_threads() == before


def test_the_last_to_leave_restores_although_another_thread_came_first() -> None:
    before = blas_threads()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with single_threaded_blas:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    with single_threaded_blas:
        leave.set()
        thread.join(10)
        assert set(blas_threads()) <= {1}
    assert blas_threads() == before
