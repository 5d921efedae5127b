"""Runs pieces of work in forked processes: with everything imported, and safe from whatever they do."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[dict[str, Any]], None]
Work = Callable[[Say], None]

_PR_SET_PDEATHSIG = 1
_WALL_SECONDS = 900  # for one piece of work; what really ends an endless loop is the limit of processor time


@dataclass
class Ending:
    """What a piece of work said, and how it ended.

    Attributes
    ----------
    said : list of dict
        In order.
    signal : int
        That ended it, 0 where it came to its end; SIGXCPU where a step took too much processor time.
    seconds : float
        Wall time.
    """

    said: list[dict[str, Any]] = field(default_factory=list)
    signal: int = 0
    seconds: float = 0.0


@dataclass
class _Child:
    number: int
    pid: int
    started: float
    ending: Ending
    rest: bytes = b""


_forked = False  # whether run_forked made this process


def allow(seconds: float) -> None:
    """From now on a process of :func:`run_forked` may use so much processor time before SIGXCPU ends it.

    Any other has no such limit: what it goes on to do, as all later tests of one that runs pytest, is not this work.
    """
    if not _forked:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def run_forked(works: Sequence[Work], jobs: int) -> Iterator[tuple[int, Ending]]:
    """Run each in a process of its own, ``jobs`` at once; (its number, its ending) as they end.

    However this ends, none of the processes, nor those that they started, is left over.
    """
    selector, running, waiting = selectors.DefaultSelector(), dict[int, _Child](), list(enumerate(works))[::-1]
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, work = waiting.pop()
                read, write = os.pipe()
                pid = os.fork()
                if pid == 0:
                    _be_child(work, write, [read, *running])
                os.close(write)
                running[read] = _Child(number, pid, time.monotonic(), Ending())
                selector.register(read, selectors.EVENT_READ)
            for key, _ in selector.select(timeout=5):
                assert isinstance(key.fd, int)
                data = os.read(key.fd, 1 << 16)
                child = running[key.fd]
                *lines, child.rest = (child.rest + data).split(b"\n")
                child.ending.said += [json.loads(line) for line in lines]
                if data:
                    continue
                selector.unregister(key.fd)
                os.close(key.fd)
                del running[key.fd]
                yield child.number, _ended(child)
            for child in running.values():
                if time.monotonic() - child.started > _WALL_SECONDS:
                    os.killpg(child.pid, signal.SIGXCPU)
    finally:
        for fd, child in running.items():
            os.close(fd)
            _ended(child)
        selector.close()


def _ended(child: _Child) -> Ending:
    """Wait for a child that has nothing more to say, or is to stop."""
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    for _ in range(100):
        if pid:
            break
        time.sleep(0.01)
        pid, status = os.waitpid(child.pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # and a compiler that it left
    if not pid:
        status = os.waitpid(child.pid, 0)[1]
    child.ending.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    child.ending.seconds = time.monotonic() - child.started
    return child.ending


def _be_child(work: Work, write: int, inherited: list[int]) -> None:
    """Work, then leave without any of the parent's clearing up."""
    global _forked
    status = 1
    _forked = True
    try:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for fd in inherited:
            os.close(fd)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)

        def say(message: dict[str, Any]) -> None:
            data = json.dumps(message).encode() + b"\n"
            while data:
                data = data[os.write(write, data) :]

        try:
            work(say)
        except BaseException as error:
            say({"broken": f"{type(error).__name__}: {error}"})
        status = 0
    finally:
        os._exit(status)
