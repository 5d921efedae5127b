"""GPU times from CUDA events, of CUDA graphs that repeat a call, in gpunn and in PyTorch.

A graph replay runs no Python, so an op of a few microseconds is timed at what it costs in a captured
step. Each call of the graph has its own inputs, enough of them that none is still in the L2 cache.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpunn._capture import capture_graph
from gpunn._capture_state import StepWatch
from gpunn.gpu.tickets import new_tickets

Run = Callable[[], Any]
_EAGER_CALLS = 20


@dataclass
class Timing:
    """Microseconds per call, from several replays."""

    samples: list[float] = field(default_factory=list)
    eager_us: float = math.nan  # wall time per call, launched one by one; NaN before it is measured

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """Half the interquartile range, as a fraction of the median."""
        if len(self.samples) < 2:  # time ran out
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4)
        return (high - low) / 2 / self.median


class GpunnGraph:
    """Calls of gpunn, as a graph."""

    def __init__(self, device: Any, runs: Sequence[Run], keep: bool) -> None:
        self._device, self._cupy = device, device.xp
        self.timing = Timing()
        with device.active():
            for run in runs:
                run()  # compiles, and creates everything that is created once
            device.synchronize()
            self.timing.eager_us = _eager(runs, device.synchronize)
            self._calls = len(runs)
            # Outputs that are kept do not share memory, as in a step; large ones are freed.
            step = self._step = StepWatch(device, [], [], frozen=True)
            step.tickets = new_tickets(device)
            self._graph, self._outputs = capture_graph(
                step, lambda: [run() for run in runs] if keep else _discard(runs)
            )
            self._start, self._end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
            self._graph.replay()
            device.synchronize()

    def sample(self) -> None:
        """Replay once and note the time."""
        with self._device.active():
            self._start.record()
            self._graph.replay()
            self._end.record()
            self._end.synchronize()
            elapsed = self._cupy.cuda.get_elapsed_time(self._start, self._end)
        self.timing.samples.append(1e3 * elapsed / self._calls)


class TorchGraph:
    """Calls of PyTorch, as a graph. Everything happens on one side stream, as capture requires."""

    def __init__(self, torch: Any, stream: Any, runs: Sequence[Run], keep: bool) -> None:
        self._torch, self._stream = torch, stream
        self.timing = Timing()
        with torch.cuda.stream(stream):
            for run in [*runs, *runs[:2]]:
                run()  # cuDNN tries its algorithms
            stream.synchronize()
            self.timing.eager_us = _eager(runs, stream.synchronize)
            self._calls = len(runs)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream):
                self._outputs = [run() for run in runs] if keep else _discard(runs)
            self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._graph.replay()
            stream.synchronize()

    def sample(self) -> None:
        """Replay once and note the time."""
        with self._torch.cuda.stream(self._stream):
            self._start.record()
            self._graph.replay()
            self._end.record()
            self._end.synchronize()
        self.timing.samples.append(1e3 * self._start.elapsed_time(self._end) / self._calls)


def _discard(runs: Sequence[Run]) -> list[Any]:
    for run in runs:
        run()
    return []


def _eager(runs: Sequence[Run], wait: Callable[[], Any]) -> float:
    """Wall microseconds per call without a graph."""
    start = time.perf_counter()
    for number in range(_EAGER_CALLS):
        runs[number % len(runs)]()
    wait()
    return 1e6 * (time.perf_counter() - start) / _EAGER_CALLS


def torch_or_none() -> Any:
    """PyTorch, if it is installed and has a GPU, set up to compute as gpunn does: float32, no TF32."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return torch


@contextlib.contextmanager
def torch_stream(torch: Any) -> Iterator[Any]:
    """A side stream, current inside the block."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        yield stream
    stream.synchronize()
