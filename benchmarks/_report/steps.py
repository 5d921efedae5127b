"""Whole training steps: gpunn eager and captured, beside PyTorch eager, as one CUDA graph, and compiled."""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks._report.book import Section
from benchmarks._report.networks import STEPS, Step, gpunn_batch, gpunn_step, torch_batch, torch_step
from benchmarks._report.targets import EAGER, GRAPH
from benchmarks._report.work import Ceilings, ceilings, rates
from gpunn.bench.graphs import torch_or_none

_ROUNDS, _LEAST_ROUNDS, _SECONDS = 15, 5, 5.0  # of timing all sides of a step
_BLOCK_SECONDS, _MOST_STEPS = 0.03, 40
_CHECKED, _WARM_UP = 4, 3
# A few updates in float32, sums in other orders.
_LOSS_TOLERANCE = 1e-3
_COMPILED = {"PyTorch compiled": {}, "PyTorch compiled, reduce-overhead": {"mode": "reduce-overhead"}}
_COMPILE_SECONDS = 25.0  # with less left it is not worth beginning
_END = 5.0  # seconds before the section's end when compiling is given up
_OURS = "gpunn captured"


@dataclass
class Side:
    """One way to do the step: ``step(*batch)`` gives the loss, ``wait()`` returns when it is done."""

    step: Callable[..., Any]
    ready: list[Any]
    wait: Callable[[], Any]
    warmed: bool = False  # whether it has trained on the first batch a few times before


def run(section: Section, options: argparse.Namespace) -> None:
    """All networks without the compiled side, which takes a compiler half a minute; then that, for two of them."""
    from gpunn._device import device

    target = device(options.device)
    torch = torch_or_none()
    section.value("PyTorch", "not there, or without a GPU: not compared" if torch is None else torch.__version__)
    section.value("how", "wall microseconds a step over many in a row, the batch copied in; both libraries in float32")
    ceiling = ceilings(section, target)
    captured: dict[str, float] = {}
    for step in STEPS[:1] if options.quick else STEPS:
        if section.expired:
            if section.start(step.title):
                section.cut(f"{step.title}: {section.why}")
                section.line("steps", step.line, {}, step=step.title, side=_OURS, note=section.why)
            continue
        work = functools.partial(_compare, section, step, target, torch, ceiling, captured)
        section.attempt(step.title, work, target.synchronize)
        if not section.has("steps", step=step.title, side=_OURS):  # in this process or one before it
            section.line("steps", step.line, {}, step=step.title, side=_OURS, note="failed")
    if torch is None:
        return
    for step in STEPS[:1] if options.quick else STEPS[:2]:
        for name, how in _COMPILED.items():
            item = f"{step.title}: {name}"
            if section.remaining < _COMPILE_SECONDS:
                if section.start(item):
                    section.cut(f"{item}: {section.why}")
            else:
                work = functools.partial(_compare_compiled, section, step, torch, name, how, captured)
                section.attempt(item, work, target.synchronize)


def _compare(
    section: Section, step: Step, target: Any, torch: Any, ceiling: Ceilings, captured: dict[str, float]
) -> None:
    data = step.batches(8)
    makers: dict[str, Callable[[], Side]] = {
        "gpunn eager": lambda: _gpunn(step, target, data, False),
        _OURS: lambda: _gpunn(step, target, data, True),
    }
    if torch is not None:
        for name, last in (("", False), (" channels-last", True)):
            makers[f"PyTorch eager{name}"] = functools.partial(_torch, torch, step, data, last)
            makers[f"PyTorch CUDA graph{name}"] = functools.partial(_torch_graph, torch, step, data, last)
    sides: dict[str, Side] = {}
    losses: dict[str, list[float]] = {}
    for name, make in makers.items():
        try:
            side = make()
            losses[name] = _losses(side)
            sides[name] = side
        except Exception as error:
            section.survive(f"{step.title}: {name}", error)
    _check(section, step, losses, [name for name, side in sides.items() if not side.warmed], "gpunn eager")
    warmed = [name for name, side in sides.items() if side.warmed]
    if warmed:
        side = _torch(torch, step, data, False)
        for _ in range(_WARM_UP):
            side.step(*side.ready[0])
        losses["PyTorch eager, as far on"] = _losses(side)
        _check(section, step, losses, warmed, "PyTorch eager, as far on")
    times = _time(sides)
    medians = {name: statistics.median(samples) for name, samples in times.items()}
    ours = medians.get(_OURS)
    measured = {
        EAGER: _ratio(medians, "PyTorch eager", ours),
        GRAPH: _ratio(medians, "PyTorch CUDA graph", ours),
    }
    for name, samples in times.items():
        row = _row(step, name, samples, ours)
        if name == _OURS:
            captured[step.line] = medians[name]
            rate = rates(
                ceiling, step.network.step_flop(step.batch), step.network.step_bytes(step.batch), medians[name]
            )
            section.line("steps", step.line, measured, **row, **rate)
        else:
            section.row("steps", **row)


def _compare_compiled(
    section: Section, step: Step, torch: Any, name: str, how: dict[str, Any], captured: dict[str, float]
) -> None:
    """One compiled side, in PyTorch's better layout for convolutions; what stops it is no failure of ours."""
    data = step.batches(8)
    start = time.monotonic()
    last = step.network.convolutional
    try:
        ready = [torch_batch(torch, batch, "cuda", last) for batch in data]
        with _limited(section.remaining - _END):
            side = Side(torch_step(torch, step, "cuda", last, how), ready, torch.cuda.synchronize)
            losses = {name: _losses(side), "PyTorch eager": _losses(_torch(torch, step, data, last))}
    except Exception as error:
        section.cut(f"{step.title}: {name}: {type(error).__name__}: {str(error)[:500]}")
        section.probe(f"{step.title}: {name}")
        return
    section.value(f"{step.title}: {name}: seconds to compile", time.monotonic() - start)
    _check(section, step, losses, [name], "PyTorch eager")
    section.row("steps", **_row(step, name, _time({name: side})[name], captured.get(step.line)))


class OutOfTime(Exception):
    """Raised within what takes too long."""


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime within the block once it has taken that long."""

    def stop(*arguments: Any) -> None:
        raise OutOfTime("not done when the section's time was up")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _row(step: Step, name: str, samples: list[float], ours: float | None) -> dict[str, Any]:
    median = statistics.median(samples)
    row: dict[str, Any] = {"step": step.title, "side": name, "µs": median, "least µs": min(samples)}
    row |= {"images/s": 1e6 * step.batch / median, "÷ gpunn captured": None if ours is None else median / ours}
    return row


def _ratio(medians: dict[str, float], side: str, ours: float | None) -> float | None:
    """How many times as long PyTorch takes, in the faster of its layouts."""
    theirs = [median for name, median in medians.items() if name.startswith(side)]
    return min(theirs) / ours if theirs and ours is not None else None


def _losses(side: Side) -> list[float]:
    return [float(side.step(*side.ready[number]).item()) for number in range(_CHECKED)]


def _check(section: Section, step: Step, losses: dict[str, list[float]], names: list[str], reference: str) -> None:
    """The same losses from the same weights, or the times are of something else."""
    for name in names:
        if reference not in losses:
            return  # that it is not there is a failure already
        worst = max(abs(a - b) for a, b in zip(losses[name], losses[reference], strict=True))
        if not worst <= _LOSS_TOLERANCE:
            section.fail(f"{step.title}: losses of {name} differ by {worst:.2e} from {reference}: {losses}")


def _time(sides: dict[str, Side]) -> dict[str, list[float]]:
    """Microseconds a step, several samples of each side in turns."""
    steps = {
        name: max(5, min(_MOST_STEPS, int(_BLOCK_SECONDS / _block(side, 3) * 1e6))) for name, side in sides.items()
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    start = time.monotonic()
    for number in range(_ROUNDS):
        for name, side in sides.items():
            times[name].append(_block(side, steps[name]))
        if number + 1 >= _LEAST_ROUNDS and time.monotonic() - start > _SECONDS:
            break
    return times


def _block(side: Side, steps: int) -> float:
    """Microseconds a step, the copy of the batch included, over some steps in a row."""
    side.step(*side.ready[0])
    side.wait()
    start = time.perf_counter()
    for number in range(steps):
        side.step(*side.ready[number % len(side.ready)])
    side.wait()
    return 1e6 * (time.perf_counter() - start) / steps


def _gpunn(step: Step, target: Any, data: list[Any], captured: bool) -> Side:
    import gpunn

    once = gpunn_step(step, target)
    ready = [gpunn_batch(batch, target) for batch in data]
    return Side(gpunn.capture(once) if captured else once, ready, target.synchronize)


def _torch(torch: Any, step: Step, data: list[Any], channels_last: bool) -> Side:
    ready = [torch_batch(torch, batch, "cuda", channels_last) for batch in data]
    return Side(torch_step(torch, step, "cuda", channels_last), ready, torch.cuda.synchronize)


def _torch_graph(torch: Any, step: Step, data: list[Any], channels_last: bool) -> Side:
    """PyTorch's whole step as one graph, with the batch copied in, as gpunn's does."""
    once = torch_step(torch, step, "cuda", channels_last)
    ready = [torch_batch(torch, batch, "cuda", channels_last) for batch in data]
    images, labels = (t.clone() for t in ready[0])
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            once(images, labels)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = once(images, labels)

    def replay(x: Any, t: Any) -> Any:
        images.copy_(x)
        labels.copy_(t)
        graph.replay()
        return loss

    return Side(replay, ready, torch.cuda.synchronize, warmed=True)
