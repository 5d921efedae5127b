"""The thread pool and the one owner of BLAS's threads."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunn.cpu import threads
from gpunn.errors import UsageError


@pytest.fixture(autouse=True)
def _two_threads():
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    yield
    threads.set_num_threads(before)


def test_every_item_once() -> None:
    seen: list[int] = []
    threads.run(seen.append, range(100))
    assert sorted(seen) == list(range(100))


def test_works_run_together_and_give_their_results_in_order() -> None:
    meet, seen = threading.Barrier(2, timeout=10), []

    def work(name: str, count: int) -> threads.Work[str]:
        def task(i: int) -> None:
            meet.wait()  # the other work's task runs beside this one
            seen.append((name, i))

        yield task, range(count)
        assert {i for found, i in seen if found == name} == set(range(count))
        return name.upper()

    assert threads.run_all(work("a", 1), work("none", 0), work("b", 1)) == ["A", "NONE", "B"]
    assert sorted(seen) == [("a", 0), ("b", 0)]
    assert threads.run_all() == []


def test_a_failure_in_one_work_is_raised_and_no_work_goes_on() -> None:
    ended = []

    def work(task: Callable[[int], object]) -> threads.Work[None]:
        yield task, range(2)
        ended.append(task)

    with pytest.raises(ZeroDivisionError):
        threads.run_all(work(lambda i: 1 // i), work(lambda i: None))
    assert ended == []


def test_runs_at_the_same_time() -> None:
    meet = threading.Barrier(2, timeout=10)
    threads.run(lambda _: meet.wait(), range(2))


def test_failure_is_raised_after_all_threads_are_done() -> None:
    meet = threading.Barrier(2, timeout=10)
    caller = threading.current_thread()
    done = []

    def task(i: int) -> None:
        meet.wait()  # one item in each thread
        if threading.current_thread() is caller:
            raise KeyError(i)
        time.sleep(0.05)
        done.append(i)

    with pytest.raises(KeyError):
        threads.run(task, range(2))
    assert len(done) == 1


def test_failure_of_a_helper_is_raised() -> None:
    meet = threading.Barrier(2, timeout=10)
    caller = threading.current_thread()

    def task(i: int) -> None:
        meet.wait()  # one item in each thread
        if threading.current_thread() is not caller:
            raise KeyError(i)

    with pytest.raises(KeyError):
        threads.run(task, range(2))
    test_every_item_once()  # and the helper goes on


def test_when_a_helper_has_failed_no_item_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    meet, left = threading.Barrier(2, timeout=10), threading.Event()
    caller, seen = threading.current_thread(), []

    class Job(threads._Job):
        def _leave(self) -> None:
            super()._leave()
            left.set()

    def task(i: int) -> None:
        seen.append(i)
        if len(seen) <= 2:
            meet.wait()
        if threading.current_thread() is not caller:
            raise KeyError(i)
        assert left.wait(10)

    monkeypatch.setattr(threads, "_Job", Job)
    with pytest.raises(KeyError):
        threads.run(task, range(9))
    assert sorted(seen) == [0, 8]


def test_helpers_see_the_callers_context() -> None:
    meet = threading.Barrier(2, timeout=10)
    seen = []

    def task(_: int) -> None:
        meet.wait()
        seen.append(np.geterr()["divide"])

    with np.errstate(divide="raise"):
        threads.run(task, range(2))
    assert seen == ["raise", "raise"]


def test_a_caller_does_not_wait_for_a_helper_that_is_busy_elsewhere() -> None:
    started, leave = threading.Event(), threading.Event()
    busy = threading.Barrier(2, timeout=10)

    def task(_: int) -> None:
        busy.wait()  # the only helper is in this run
        started.set()
        leave.wait(10)

    other = threading.Thread(target=threads.run, args=(task, range(2)))
    other.start()
    assert started.wait(10)
    seen: list[int] = []
    threads.run(seen.append, range(3))
    assert seen == [0, 1, 2]
    leave.set()
    other.join(10)
    assert not other.is_alive()


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_kept_of_a_finished_run(fails: bool) -> None:
    def start() -> weakref.ref:
        big = np.ones(4)
        meet = threading.Barrier(2, timeout=10)
        caller = threading.current_thread()

        def task(i: int) -> None:
            meet.wait()
            if fails and threading.current_thread() is not caller:
                raise KeyError(big[i])

        with contextlib.suppress(KeyError):
            threads.run(task, range(2))
        return weakref.ref(big)

    gc.disable()
    try:
        kept = start()
        deadline = time.monotonic() + 5
        while kept() is not None and time.monotonic() < deadline:
            time.sleep(0.01)  # a helper lets go of its last job a moment after the run
        assert kept() is None
    finally:
        gc.enable()


class _Turns(threads._Job):
    """A job whose helper comes in just before the caller closes it, and begins when that is done."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.entered, self.shut = threading.Event(), threading.Event()

    def _enter(self) -> Any:
        task = super()._enter()
        self.entered.set()
        assert self.shut.wait(10)
        return task

    def _shut(self) -> bool:
        assert self.entered.wait(10)
        inside = super()._shut()
        self.shut.set()
        return inside


def test_a_helper_may_come_in_just_before_the_caller_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_Job", _Turns)
    for fails in (False, True):
        seen: list[int] = []

        def task(i: int, seen: list[int] = seen, fails: bool = fails) -> None:
            seen.append(i)
            if fails:
                raise KeyError(i)

        with pytest.raises(KeyError) if fails else contextlib.nullcontext():
            threads.run(task, range(3))
        # The helper finds nothing to do, nor does it begin what is left of a run that has failed.
        assert seen == ([0] if fails else [0, 1, 2])


def _held_helper(monkeypatch: pytest.MonkeyPatch, interrupted: str) -> list[str]:
    """The order of events in a run that ``call`` or ``acquire`` interrupts while a helper is in its item."""
    order: list[str] = []
    working, go_on = threading.Event(), threading.Event()
    caller = threading.current_thread()

    class Left:
        """The lock that a closing caller waits for."""

        def __init__(self, lock: Any) -> None:
            self.lock, self.release, self.interrupt = lock, lock.release, interrupted == "acquire"

        def acquire(self) -> None:
            if self.interrupt:
                self.interrupt = False
                raise KeyboardInterrupt
            go_on.set()
            self.lock.acquire()

    class Job(threads._Job):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._left: Any = Left(self._left)

    class Pool:
        size = 2

        def call(self, *args: Any) -> None:
            pool.call(*args)
            if interrupted == "call":
                assert working.wait(10)
                raise KeyboardInterrupt

    def task(_: int) -> None:
        if threading.current_thread() is caller:
            assert working.wait(10)
            return
        working.set()
        assert go_on.wait(10)
        order.append("the helper is done")

    pool = threads._pool
    monkeypatch.setattr(threads, "_Job", Job)
    monkeypatch.setattr(threads, "_pool", Pool())
    try:
        threads.run(task, range(2))
    except KeyboardInterrupt:
        order.append("interrupted")
    monkeypatch.undo()
    go_on.set()
    return order


@pytest.mark.parametrize("interrupted", ["call", "acquire"])
def test_ctrl_c_is_raised_when_the_helpers_have_left(monkeypatch: pytest.MonkeyPatch, interrupted: str) -> None:
    assert _held_helper(monkeypatch, interrupted) == ["the helper is done", "interrupted"]
    test_every_item_once()


def test_nothing_is_kept_of_several_failures() -> None:
    threads.set_num_threads(3)
    left = threading.Semaphore(0)

    class Job(threads._Job):
        def _leave(self) -> None:
            super()._leave()
            left.release()

    def start(callers_too: bool) -> weakref.ref:
        big = np.ones(4)
        meet = threading.Barrier(3, timeout=10)
        caller = threading.current_thread()

        def task(i: int) -> None:
            meet.wait()
            if callers_too or threading.current_thread() is not caller:
                raise KeyError(big[i])

        job = Job(task, range(3))
        for _ in range(2):
            threading.Thread(target=job.help).start()
        with contextlib.suppress(KeyError), pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads, "_Job", lambda *_: job)
            patch.setattr(threads._pool, "call", lambda *_: None)
            threads.run(task, range(3))
        for _ in range(2):
            assert left.acquire(timeout=10)
        return weakref.ref(big)

    gc.disable()
    try:
        for callers_too in (False, True):
            kept = start(callers_too)
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.name.startswith("gpunn_"):
                    thread.join(10)
            assert kept() is None
    finally:
        gc.enable()


def test_a_task_may_run_others() -> None:
    meet = threading.Barrier(2, timeout=10)
    seen: list[tuple[int, int]] = []

    def task(i: int) -> None:
        meet.wait()  # both threads are inside
        threads.run(lambda j: seen.append((i, j)), range(5))

    threads.run(task, range(2))
    assert sorted(seen) == [(i, j) for i in range(2) for j in range(5)]


def test_two_callers_at_once() -> None:
    meet = threading.Barrier(2, timeout=10)
    sums = [0.0, 0.0]

    def caller(number: int) -> None:
        for _ in range(50):
            meet.wait()
            found: list[int] = []
            threads.run(found.append, range(number, 20))
            assert sorted(found) == list(range(number, 20))
            sums[number] += sum(found)

    other = threading.Thread(target=caller, args=(1,))
    other.start()
    caller(0)
    other.join(30)
    assert sums == [50 * 190, 50 * 190]


def test_where_no_more_threads_can_be_made_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    made: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if made:
            raise RuntimeError("can't start new thread")
        made.append(thread)
        start(thread)

    threads.set_num_threads(4)  # new helpers
    monkeypatch.setattr(threading.Thread, "start", limited)
    for _ in range(3):
        test_every_item_once()
    monkeypatch.undo()
    meet = threading.Barrier(4, timeout=10)  # and with all of them when the system allows it again
    threads.run(lambda _: meet.wait(), range(4))


def test_an_op_while_the_interpreter_ends_waits_for_no_one() -> None:
    code = (
        "import sys, threading\n"
        "from gpunn.cpu import threads\n"
        "threads.set_num_threads(2)\n"
        "threads.run(len, ['', ''])\n"
        "held = threading.Event()\n"
        "def holder():\n"
        "    with threads._pool._lock:\n"
        "        held.set()\n"
        "        threading.Event().wait()\n"
        "class Last:\n"
        "    def __del__(self, run=threads.run, out=sys.stdout):\n"
        "        seen = []\n"
        "        run(seen.append, range(4))\n"
        "        out.write(str(seen))\n"
        "        out.flush()\n"
        "threading.Thread(target=holder, daemon=True).start()\n"
        "held.wait()\n"
        "sys.modules['last'] = Last()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "[0, 1, 2, 3]", done.stderr


def test_resizing_ends_the_old_threads() -> None:
    test_runs_at_the_same_time()
    threads.set_num_threads(3)
    meet = threading.Barrier(3, timeout=10)
    threads.run(lambda _: meet.wait(), range(3))
    threads.set_num_threads(1)
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("gpunn_") for name in names)
    main = threading.current_thread()
    threads.run(lambda _: pytest.fail("in a helper") if threading.current_thread() is not main else None, range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    code = (
        "import os, sys, threading\n"
        "from gpunn.cpu import threads\n"
        "threads.set_num_threads(2)\n"
        "def together():\n"
        "    meet = threading.Barrier(2, timeout=10)\n"
        "    threads.run(lambda _: meet.wait(), range(2))\n"
        "together()\n"
        "child = os.fork()\n"
        "together()\n"
        "if child == 0:\n"
        "    os._exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 7)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


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


def test_plans_are_made_once_until_what_they_are_made_of_goes() -> None:
    scratch, made = threads.Scratch(), []

    def plan(size: int) -> np.ndarray:
        made.append(size)
        return scratch.array("a", (size,), np.float32)[::2]

    first = scratch.plan(plan, 8)
    assert scratch.plan(plan, 8) is first
    assert made == [8]
    scratch.plan(plan, 100)  # its memory is too small: what is made of it is made anew
    assert scratch.plan(plan, 8) is not first
    assert np.shares_memory(scratch.plan(plan, 8), scratch.plan(plan, 100))
    assert made == [8, 100, 8]


def test_zeros_of_plans_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_MOST_ZEROS", 4000)
    scratch, alive = threads.Scratch(), []

    def plan(number: int) -> np.ndarray:
        found: np.ndarray = scratch.zeros((100,), np.float32)
        assert not found.any()
        alive.append(weakref.ref(found))
        return found

    for number in range(50):
        scratch.plan(plan, number)
        assert sum(ref() is not None for ref in alive) <= 10
    assert scratch.plan(plan, 49) is alive[-1]()


@pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
def test_refuses(n: Any) -> None:
    with pytest.raises(UsageError, match="positive integer"):
        threads.set_num_threads(n)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or threads._usable_cores() < 2,
    reason="needs two cores, and to choose among them",
)
def test_helpers_keep_off_the_callers_core() -> None:
    before, caller, there = os.sched_getaffinity(0), threading.current_thread(), []
    meet = threading.Barrier(2, timeout=10)

    def task(core: int) -> None:
        meet.wait()  # one item in each thread
        if threading.current_thread() is not caller:
            there.append(core in os.sched_getaffinity(0))

    threads.run(lambda _: None, range(2))  # makes the helper, which inherits the caller's cores
    try:
        for core in sorted(before)[:2]:
            os.sched_setaffinity(0, {core})
            threads.run(task, [core, core])
    finally:
        os.sched_setaffinity(0, before)
    assert there == [False, False]


def test_where_affinity_is_forbidden_it_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    threads.set_num_threads(3)  # new helpers
    seen: list[int] = []
    threads.run(seen.append, range(5))
    assert sorted(seen) == list(range(5))
