"""The process's CPU threads: one pool, and one owner of BLAS's own threading.

NumPy releases the GIL in copies and matrix products, so blocks of images can be worked on by
several Python threads, each calling single-threaded BLAS. Work is split by *shape*, never by the
number of threads: results have the same bits whatever that number is.

BLAS thread limits are process-wide state. Two overlapping "limit to one, then restore" in two
threads would leave the process at one thread for ever; so a count decides, and only the first in
and the last out touch it.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gpunn.errors import UsageError

Item = TypeVar("Item")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Blas:
    """Keeps BLAS at one thread while at least one user needs that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._controller: Any = None
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                if self._controller is None:
                    from threadpoolctl import ThreadpoolController

                    self._controller = ThreadpoolController().select(user_api="blas")
                self._limit = self._controller.limit(limits=1)
                self._limit.__enter__()

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limit.__exit__(*exc)


single_threaded_blas = _Blas()


class _Pool:
    def __init__(self) -> None:
        self.size = _usable_cores()
        self.start_over()

    def start_over(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(max(1, self.size - 1), "gpunn")
            return self._executor

    def resize(self, size: int) -> None:
        with self._lock:
            executor, self._executor, self.size = self._executor, None, size
        if executor is not None:
            executor.shutdown()


_pool = _Pool()
# A forked child has the parent's executor object but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.start_over)


def set_num_threads(n: int) -> None:
    """How many threads CPU ops use; the numbers they compute do not depend on it.

    Raises
    ------
    UsageError
        If n is not a positive integer.
    """
    if not isinstance(n, int) or n < 1:
        raise UsageError(f"set_num_threads: expected a positive integer; got {n!r}")
    _pool.resize(n)


def get_num_threads() -> int:
    """How many threads CPU ops use: by default the cores this process may run on."""
    return _pool.size


def run(task: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call ``task(item)`` for every item, on the pool and in this thread; raise the first failure.

    BLAS is single-threaded meanwhile. Calls must write to different memory and not call ``run``.
    """
    waiting = deque(items)
    with single_threaded_blas:

        def work() -> None:
            while True:
                try:
                    item = waiting.popleft()  # atomic: no two threads get the same item
                except IndexError:
                    return
                task(item)

        # Each in a copy of the caller's context, in which numpy.errstate lies.
        count = min(_pool.size, len(waiting)) - 1
        helpers = [_pool.executor().submit(contextvars.copy_context().run, work) for _ in range(count)]
        try:
            work()
        finally:
            for helper in helpers:
                helper.exception()  # wait: nobody may write to a caller's arrays after it returned
        for helper in helpers:
            helper.result()


def spans(length: int, parts: int) -> list[slice]:
    """``length`` cut into at most ``parts`` nearly equal slices, none empty."""
    parts = min(parts, length)
    edges = [length * i // parts for i in range(parts + 1)] if parts else [0]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


class Scratch(threading.local):
    """Working memory of one thread, kept between calls: fresh pages cost more than the copies into them."""

    def __init__(self) -> None:
        self._buffers: dict[str, Any] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialised C-contiguous array; the next call with this name may overwrite it."""
        import numpy as np

        count = 1
        for n in shape:
            count *= n
        nbytes = count * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < nbytes:
            buffer = self._buffers[name] = np.empty(nbytes, np.uint8)
        return buffer[:nbytes].view(dtype).reshape(shape)


scratch = Scratch()
