"""Processes that a mutation run forks: they alone have a limit of processor time."""

from __future__ import annotations

import resource
import signal

from tests.mutants.forked import Say, allow, run_forked


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_CPU)[0]


def test_only_the_forked_process_is_limited() -> None:
    """A limit in pytest's own process ended it in the middle of some later test."""
    before = _limit()

    def work(say: Say) -> None:
        allow(20)
        say({"limit": _limit()})

    allow(20)
    ((_, ending),) = run_forked([work], 1)
    assert 20 < ending.said[0]["limit"] != before
    assert _limit() == before


def test_an_endless_loop_ends() -> None:
    def work(say: Say) -> None:
        allow(0)
        while True:
            pass

    ((_, ending),) = run_forked([work], 1)
    assert ending.signal == signal.SIGXCPU
