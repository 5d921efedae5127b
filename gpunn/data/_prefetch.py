"""Threads that load batches ahead of the loop that consumes them, in the loop's order."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

# Waiting with a timeout lets Ctrl-C through on systems where waiting for a lock cannot be interrupted.
_LOOK_UP = 0.5


class Prefetcher:
    """Calls ``load(number)`` for every number of a range in threads; yields the results in order.

    A failure is kept and raised where its result would have come, so that the consumer sees the same
    as without threads: the batches before it, then the original exception.

    Parameters
    ----------
    load : callable
        Called from several threads at once.
    numbers : range
        With step 1.
    threads : int
    ahead : int
        How many results may exist that the consumer has not taken, started ones included.
    """

    def __init__(self, load: Callable[[int], Any], numbers: range, threads: int, ahead: int) -> None:
        self._load = load
        self._begun = self._taken = numbers.start  # the next number to load, and to yield
        self._end = numbers.stop
        self._ahead = ahead
        self._done: dict[int, tuple[Any, BaseException | None]] = {}
        self._stopped = False
        self._changed = threading.Condition()
        # Each in a copy of the consumer's context, which holds numpy.errstate.
        self._threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(self._work,), name=f"gpunn-loader-{i}", daemon=True
            )
            for i in range(min(threads, len(numbers)))
        ]

    def __iter__(self) -> Iterator[Any]:
        """Yield the results; however the loop ends, no thread runs afterwards."""
        try:
            for thread in self._threads:
                thread.start()
            while self._taken < self._end:
                yield self._take()
        finally:
            self._stop()

    def _take(self) -> Any:
        with self._changed:
            while self._taken not in self._done:
                self._changed.wait(_LOOK_UP)
            result, failure = self._done.pop(self._taken)
            self._taken += 1
            self._changed.notify_all()
        if failure is None:
            return result
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame: a cycle

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            # Not started if a start failed; the current one if the garbage collector closes this from a worker.
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()
        self._done.clear()

    def _work(self) -> None:
        while (number := self._next()) is not None:
            result, failure = None, None
            try:
                result = self._load(number)
            except BaseException as error:  # the consumer gets it, whatever it is
                failure = error
            with self._changed:
                self._done[number] = result, failure
                self._changed.notify_all()
            del result, failure

    def _next(self) -> int | None:
        """The number to load now, after waiting for room; None when there is nothing left to do."""
        with self._changed:
            while not self._stopped and self._begun < self._end and self._begun >= self._taken + self._ahead:
                self._changed.wait()
            if self._stopped or self._begun >= self._end:
                return None
            self._begun += 1
            return self._begun - 1
