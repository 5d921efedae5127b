"""What is timed beside what, and how: a side is one library on one device, with its clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gpunn._device import Device
from gpunn.cpu.threads import set_num_threads

_LEAST_MS = 1.0  # a shorter sample repeats the call: below this, clock resolution and overhead show
_TURN = 3  # samples of one side before the next has its turn


class Clock(Protocol):
    """Starts, and stops with the milliseconds elapsed."""

    def start(self) -> None:
        """Begin to measure."""

    def stop(self) -> float:
        """Milliseconds since :meth:`start`."""
        ...


class HostClock:
    """Wall time, for devices that do their work inside the call."""

    def start(self) -> None:
        """Note the time."""
        self._start = time.perf_counter()

    def stop(self) -> float:
        """Milliseconds since :meth:`start`."""
        return 1e3 * (time.perf_counter() - self._start)


class CupyClock:
    """Events on the device's current stream, with whatever the host adds between launches."""

    def __init__(self, device: Device) -> None:
        self._device = device
        with device.active():
            self._events = device.xp.cuda.Event(), device.xp.cuda.Event()

    def start(self) -> None:
        """Wait for running work, and record the first event."""
        with self._device.active():
            self._device.synchronize()
            self._events[0].record()

    def stop(self) -> float:
        """Record the second event and wait for it; returns the milliseconds between the two."""
        with self._device.active():
            self._events[1].record()
            self._events[1].synchronize()
            return float(self._device.xp.cuda.get_elapsed_time(*self._events))


class TorchClock:
    """The same for PyTorch."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def start(self) -> None:
        """Wait for running work, and record the first event."""
        self._torch.cuda.synchronize()
        self._events[0].record()

    def stop(self) -> float:
        """Record the second event and wait for it; returns the milliseconds between the two."""
        self._events[1].record()
        self._events[1].synchronize()
        return float(self._events[0].elapsed_time(self._events[1]))


class CallSide:
    """A function called repeatedly, on ``threads`` of gpunn's threads if given.

    Attributes
    ----------
    samples : list of float
        Milliseconds per call.
    """

    def __init__(self, run: Callable[[], Any], clock: Clock, warm: bool = True, threads: int | None = None) -> None:
        self._run, self._clock = run, clock
        self._calls = 1
        self._warm, self._threads = warm, threads
        self.samples: list[float] = []
        if warm:
            self.settle()
            spent = max(self._timed(), 1e-4)
            self._calls = max(1, min(1000, int(_LEAST_MS / spent + 0.999)))

    def settle(self) -> None:
        """Set gpunn's threads and make one untimed call: another library's threads spin before they sleep."""
        if self._threads is not None:
            set_num_threads(self._threads)
        if self._warm:
            self._run()

    def sample(self) -> None:
        """Note the time of a call."""
        self.samples.append(self._timed())

    def _timed(self) -> float:
        self._clock.start()
        for _ in range(self._calls):
            self._run()
        return self._clock.stop() / self._calls


class GraphSide:
    """A CUDA graph of calls (``graphs.GpunnGraph`` or ``TorchGraph``)."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self.eager_ms: float = graph.timing.eager_us / 1e3

    def settle(self) -> None:
        """A replay has no threads on the host to wait for."""

    def sample(self) -> None:
        """Replay once."""
        self._graph.sample()

    @property
    def samples(self) -> list[float]:
        """Milliseconds per call, one number for each replay."""
        return [us / 1e3 for us in self._graph.timing.samples]


Side = CallSide | GraphSide


def interleave(sides: dict[str, Side], seconds: float, least: int, most: int = 200) -> None:
    """Sample all sides in turns of three, so that other load on the machine affects them all alike.

    Parameters
    ----------
    sides : dict
    seconds : float
        For each side.
    least, most : int
        Samples of each side.
    """
    end = time.monotonic() + seconds * len(sides)
    taken = 0
    while taken < least or (taken < most and time.monotonic() < end):
        turn = min(_TURN, most - taken, least - taken if taken < least else _TURN)
        for side in sides.values():
            side.settle()
            for _ in range(turn):
                side.sample()
        taken += turn


@contextlib.contextmanager
def limited_threads(count: int, torch: Any = None) -> Iterator[None]:
    """Use ``count`` threads for gpunn, BLAS and PyTorch inside the block."""
    from threadpoolctl import threadpool_limits

    from gpunn.cpu.threads import get_num_threads, set_num_threads

    before = get_num_threads()
    torch_before = None if torch is None else torch.get_num_threads()
    set_num_threads(count)
    if torch is not None:
        torch.set_num_threads(count)
    try:
        with threadpool_limits(limits=count, user_api="blas"):
            yield
    finally:
        set_num_threads(before)
        if torch is not None:
            torch.set_num_threads(torch_before)
