"""The process's CPU threads: one pool.

NumPy releases the GIL in copies and matrix products, so blocks of images can be worked on by
several Python threads, each calling single-threaded BLAS. Work is split by *shape*, never by the
number of threads: results have the same bits whatever that number is.
"""

from __future__ import annotations

import contextvars
import ctypes
import itertools
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from gpunn.cpu import memory
from gpunn.cpu.blas import single_threaded_blas
from gpunn.errors import UsageError

Item = TypeVar("Item")
Made = TypeVar("Made")
Result = TypeVar("Result")
# A function that leaves running its task to its caller: yields (task, items) once, then returns its result.
Work = Generator[tuple[Callable[[Any], object], Iterable[Any]], None, Result]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Job:
    """One call of :func:`run`: items that the caller, and helpers that arrive in time, take one by one.

    A helper enters, works with the task that it was given there, and leaves. Closing admits no more of them, whatever
    those inside have got round to, and then waits until they have left.
    """

    def __init__(self, task: Callable[[Any], object], items: Iterable[Any]) -> None:
        self.waiting = deque(items)
        self.failures: list[BaseException] = []
        self._task: Callable[[Any], object] | None = task  # None once closed
        self._lock = threading.Lock()
        self._helping = 0
        self._left = threading.Lock()  # held until the last helper leaves after the caller closed the job
        self._left.acquire()
        # Helpers work in a copy of the caller's context, which holds numpy.errstate.
        self._context = contextvars.copy_context()

    def work(self, task: Callable[[Any], object], take: Callable[[], Any]) -> None:
        """Take items, from the front (the caller) or from the back (helpers), until there are none."""
        while True:
            try:
                item = take()  # atomic: no two threads get the same item
            except IndexError:
                return
            task(item)

    def help(self) -> None:
        """Work in a pool's thread, unless the caller has already finished."""
        task = self._enter()
        if task is None:
            return
        try:
            self._context.copy().run(self.work, task, self.waiting.pop)
        except BaseException as error:
            self.waiting.clear()  # the run has failed: no one begins another item
            self.failures.append(error)
        finally:
            self._leave()

    def _enter(self) -> Callable[[Any], object] | None:
        with self._lock:
            if self._task is not None:
                self._helping += 1
            return self._task

    def _leave(self) -> None:
        with self._lock:
            self._helping -= 1
            if self._helping == 0 and self._task is None:
                self._left.release()

    def _shut(self) -> bool:
        """Admit no more helpers and give up what waits; whether there are helpers inside."""
        with self._lock:
            self._task = None
            self.waiting.clear()  # nothing, unless the run has failed
            return self._helping > 0

    def close(self) -> None:
        """Admit no more helpers, and wait for those at work: none may write to arrays after the caller has moved on.

        That holds for Ctrl-C as well: it is raised when they have left.
        """
        interruptions = []
        while True:
            try:
                if not self._shut():
                    break
                self._left.acquire()
            except BaseException as error:  # from a signal's handler
                interruptions.append(error)
        if interruptions:
            raise interruptions.pop()


def _help(jobs: SimpleQueue[_Job | None]) -> None:
    """The loop of a pool's thread."""
    while True:
        job = jobs.get()
        if job is None:
            return
        job.help()


def _core_teller() -> Callable[[], int] | None:
    """A function that returns the core this thread is on; None where threads cannot be kept off a core."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


_this_core = _core_teller()


class _Pool:
    def __init__(self) -> None:
        self.size = _usable_cores()
        self.start_over()

    def start_over(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._allowed: set[int] = set()  # cores
        self._used: set[int] = set()  # those that helpers may run on now

    def call(self, job: _Job, helpers: int) -> None:
        """Wake ``helpers`` threads for a job; fewer where the system gives no more."""
        with self._lock:
            for number in range(len(self._threads), self.size - 1):
                thread = threading.Thread(target=_help, args=(self._jobs,), name=f"gpunn_{number}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # a limit on threads, or the interpreter is ending: slower, but correct
                    break
                self._threads.append(thread)
                self._allowed = self._used = os.sched_getaffinity(0) if _this_core is not None else set()
            self._make_way()
            for _ in range(min(helpers, len(self._threads))):
                self._jobs.put(job)

    def _make_way(self) -> None:
        """Let the helpers run anywhere but on the caller's core.

        A thread that has slept some milliseconds is often woken on the very core that its waker is busy on, and waits
        there until the waker finishes: with two cores (Linux 6.18) 83 of 100 times, each taking 1.3 ms instead of 0.03.
        """
        if _this_core is None or len(self._allowed) < 2:
            return
        here = _this_core()
        if here not in self._used:
            return
        self._used = self._allowed - {here}
        try:
            for thread in self._threads:
                os.sched_setaffinity(thread.native_id or 0, self._used)
        except OSError:  # a sandbox that forbids it, or cores taken from this process: slower, but correct
            self._allowed = set()

    def resize(self, size: int) -> None:
        with self._lock:
            if size == self.size:
                return
            old, jobs = self._threads, self._jobs
            self._threads, self._jobs, self.size = [], SimpleQueue(), size
        for _ in old:
            jobs.put(None)
        for thread in old:
            thread.join()


_pool = _Pool()
# A forked child has none of the parent's threads, but inherits its locks in whatever state they were.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.start_over)


def set_num_threads(n: int) -> None:
    """Set how many threads CPU ops use; the numbers they compute do not depend on it.

    Raises
    ------
    UsageError
        If n is not a positive integer.
    """
    if not isinstance(n, int) or n < 1:
        raise UsageError(f"set_num_threads: expected a positive integer; got {n!r}")
    _pool.resize(n)


def get_num_threads() -> int:
    """How many threads CPU ops use; by default as many as cores this process may run on."""
    return _pool.size


def run(task: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call ``task(item)`` for every item, on the pool and in this thread; raise the first failure.

    BLAS is single-threaded meanwhile. Calls must write to different memory and not call ``run``.
    """
    found = list(items)
    helpers = min(_pool.size, len(found)) - 1
    with single_threaded_blas:
        if helpers < 1 or sys.is_finalizing():  # then no other thread runs any more, whatever locks it holds
            for item in found:
                task(item)
            return
        job = _Job(task, found)
        try:
            _pool.call(job, helpers)
            job.work(task, job.waiting.popleft)
        except BaseException:
            job.close()
            job.failures.clear()  # of helpers, after this thread's own: a traceback holds the job that holds it
            raise
        job.close()
    if job.failures:
        del job.failures[1:]
        raise job.failures.pop()  # only its own traceback holds it: no cycle


def run_all(*works: Work[Any]) -> list[Any]:
    """Run the tasks of all these together, the first one's items first, and return each one's result.

    One :func:`run` for two tasks: threads wait for one another once, and are less often at the same step, where they
    would compete for the GIL.
    """
    steps = [next(work) for work in works]
    run(_do, [(task, item) for task, items in steps for item in items])
    results = []
    for work in works:
        try:
            next(work)
        except StopIteration as end:
            results.append(end.value)
    return results


def _do(step: tuple[Callable[[Any], object], Any]) -> None:
    task, item = step
    task(item)


def spans(length: int, parts: int) -> list[slice]:
    """``length`` split into at most ``parts`` nearly equal slices, none empty."""
    parts = min(parts, length)
    edges = [length * i // parts for i in range(parts + 1)] if parts else [0]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


_MOST_KEPT = 1000  # arrays and plans of one thread's scratch memory
_MOST_ZEROS = 1 << 26  # bytes of zeros that plans keep: images of ever new sizes must not fill the memory


class Scratch(threading.local):
    """Scratch memory of one thread, kept between calls: fresh pages cost more than the copies into them."""

    def __init__(self) -> None:
        self._buffers: dict[str, Any] = {}
        self._made: dict[Any, Any] = {}  # arrays and plans, requested again for every block
        self._zeros = 0  # bytes

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialised C-contiguous array; the next caller to request this name may overwrite it."""
        made = self._made.get((name, shape, dtype))
        if made is not None:
            return made
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < nbytes:
            self._forget()  # everything made of the smaller buffer, which is dropped
            buffer = self._buffers[name] = memory.empty((nbytes,), np.uint8)
        return self._keep((name, shape, dtype), np.ndarray(shape, dtype, buffer))

    def plan(self, make: Callable[..., Made], *key: Any) -> Made:
        """``make(*key)``, made once: views of scratch memory for one geometry.

        Making views takes longer than short NumPy calls, and holds the GIL that all threads share.
        """
        made: Made | None = self._made.get((make, key))
        return made if made is not None else self._keep((make, key), make(*key))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Zeros for a plan that is being made, in memory that nothing else writes to."""
        made = memory.empty(shape, dtype)
        made.fill(0)
        if self._zeros + made.nbytes > _MOST_ZEROS:
            self._forget()
        self._zeros += made.nbytes
        return made

    def _keep(self, key: Any, made: Made) -> Made:
        if len(self._made) >= _MOST_KEPT:
            self._forget()
        self._made[key] = made
        return made

    def _forget(self) -> None:
        self._made, self._zeros = {}, 0


scratch = Scratch()
