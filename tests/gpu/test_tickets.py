"""Whose counters a launch gets (``gpunn/gpu/tickets.py``): one stream's, or one captured step's."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn._capture_state import StepWatch, watched_by
from gpunn._device import Device
from gpunn.gpu.tickets import COUNT, new_tickets, tickets


class _Streams(Device):
    """A device on the CPU with as many streams as a test wants."""

    stream = 0


@pytest.fixture
def streams() -> _Streams:
    return _Streams("stand-in", np)


def test_a_stream_keeps_its_counters_and_shares_them_with_no_other(streams: _Streams) -> None:
    first = tickets(streams)
    assert (first.shape, first.dtype, first.any()) == ((COUNT,), np.uint32, False)
    assert tickets(streams) is first
    streams.stream = 1
    second = tickets(streams)
    assert not np.shares_memory(first, second)
    streams.stream = 0
    assert tickets(streams) is first


def test_a_captured_step_has_counters_of_its_own(streams: _Streams) -> None:
    outside = tickets(streams)
    for frozen in (False, True):
        watch = StepWatch(streams, [], [], frozen=frozen)
        watch.tickets = new_tickets(streams)
        assert not np.shares_memory(watch.tickets, outside)
        with watched_by(watch):
            # The first run is no part of the graph.
            assert tickets(streams) is (watch.tickets if frozen else outside)
    assert tickets(streams) is outside


def test_counters_are_zero_whatever_was_in_memory(streams: _Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, 7, dtype))
    assert not new_tickets(streams).any()
