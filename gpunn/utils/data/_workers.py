"""Threads that make batches ahead of the loop: of n workers, number k modulo n makes batch k, as in PyTorch."""

from __future__ import annotations

import contextvars
import copy
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from gpunn.errors import DataError
from gpunn.random import Generator, default_generator

END = object()  # what a stream's fetcher gives when the stream has ended
Fetcher = Callable[[Any], Any]
# Waiting with a timeout lets Ctrl-C through on systems where waiting for a lock cannot be interrupted.
_LOOK_UP = 0.5


@dataclass(frozen=True)
class WorkerInfo:
    """What :func:`get_worker_info` tells a worker of itself.

    Attributes
    ----------
    id : int
        Its number, from 0.
    num_workers : int
    seed : int
        Another one for each worker and each start of the workers.
    dataset : dataset
        Of a stream its own copy (``copy.copy``), else the loader's.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Here(threading.local):
    """Of the worker that this thread is."""

    info: WorkerInfo | None = None
    stream: Generator | None = None


_here = _Here()


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in; None outside of workers.

    Returns
    -------
    WorkerInfo or None
    """
    return _here.info


def random_stream() -> Generator:
    """Where random transforms draw from: a stream of the batch in a worker, elsewhere the default generator.

    So what workers draw depends on the batch's number, and not on which of them is faster.
    """
    return default_generator() if _here.stream is None else _here.stream


class Workers:
    """Threads, each with a queue of its own.

    Parameters
    ----------
    dataset : dataset
    is_stream : bool
        Each worker then has a copy of the dataset.
    number : int
        Of workers.
    seed : int
        Worker i has seed + i.
    begin : callable, optional
        Called by each worker with its number, before anything else.
    """

    def __init__(
        self, dataset: Any, is_stream: bool, number: int, seed: int, begin: Callable[[int], Any] | None
    ) -> None:
        self._infos = [
            WorkerInfo(i, number, seed + i, copy.copy(dataset) if is_stream else dataset) for i in range(number)
        ]
        self._threads = [ThreadPoolExecutor(1, f"gpunn-loader-{i}") for i in range(number)]
        self._begun = [
            thread.submit(_begin, info, begin) for thread, info in zip(self._threads, self._infos, strict=True)
        ]

    def run(
        self, keys: Iterable[Any], fetcher: Callable[[Any], Fetcher], ahead: int, timeout: float, source: Generator
    ) -> Iterator[Any]:
        """One epoch: what ``fetcher(dataset)`` gives for each key, in order.

        Parameters
        ----------
        keys : iterable
            Read in the caller's thread, ``ahead`` for each worker before they are needed.
        fetcher : callable
            Called by each worker with its dataset.
        ahead : int
        timeout : float
            Seconds to wait for a batch; 0 for ever.
        source : Generator
            Of the batches' streams of random numbers.
        """
        for future in self._begun:
            _result(future, timeout)
        fetchers = [_submit(self._threads[i], fetcher, info.dataset) for i, info in enumerate(self._infos)]
        waiting: deque[tuple[int, Future[Any]]] = deque()
        turns = deque(range(len(self._threads)))  # workers whose stream has not ended
        remaining, number = iter(keys), itertools.count()

        def send() -> None:
            for key in itertools.islice(remaining, 1 if turns else 0):
                worker = turns[0]
                turns.rotate(-1)
                stream = source.spawn(str(next(number)))
                waiting.append((worker, _submit(self._threads[worker], _fetch, fetchers[worker], key, stream)))

        try:
            for _ in range(ahead * len(self._threads)):
                send()
            while waiting:
                worker, future = waiting.popleft()
                batch = _result(future, timeout)
                if batch is END and worker in turns:
                    turns.remove(worker)
                send()
                if batch is not END:
                    yield batch
        finally:
            futures = [future for _, future in waiting]
            for future in futures:
                future.cancel()
            wait(futures)

    def close(self) -> None:
        """Have the threads end; what they are at is finished first."""
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)


def _begin(info: WorkerInfo, function: Callable[[int], Any] | None) -> None:
    _here.info = info
    if function is not None:
        function(info.id)


def _fetch(fetcher: Future[Fetcher], key: Any, stream: Generator) -> Any:
    _here.stream = stream
    return fetcher.result()(key)  # the thread has made it before


def _submit(thread: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """In a copy of the caller's context, which holds numpy.errstate."""
    return thread.submit(contextvars.copy_context().run, function, *arguments)


def _result(future: Future[Any], timeout: float) -> Any:
    for _ in range(int(timeout / _LOOK_UP)) if timeout else itertools.count():
        if wait([future], _LOOK_UP).done:
            return future.result()
    if timeout and not wait([future], timeout % _LOOK_UP).done:
        raise DataError(
            f"DataLoader: expected a batch within {timeout} seconds; none came. Is a file's server slow? "
            "Give a longer timeout, or 0 for none."
        )
    return future.result()
