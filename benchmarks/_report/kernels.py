"""How long each of the benchmark's single ops takes, and how long PyTorch takes for the same."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import time
from typing import Any

from benchmarks._report.book import Section
from benchmarks._report.cases import all_cases, fill
from benchmarks._report.predicted import predicted, this_card
from benchmarks._report.targets import BANDWIDTH, CUDNN, MICROSECONDS, PYTORCH
from benchmarks._report.work import Ceilings, ceilings, rates
from gpunn.bench.case import Case, difference
from gpunn.bench.graphs import GpunnGraph, TorchGraph, torch_or_none, torch_stream
from gpunn.gpu.launcher import trace_launches

# Sums of up to a million products in float32, in different orders (or through Winograd), relative to the
# largest element; a wrong kernel is off by far more.
_TOLERANCE = 1e-3
_ROUNDS, _LEAST_ROUNDS = 25, 5
_ROUNDS_SECONDS = 1.0
_CALL_BYTES = 4e9  # as much memory as the sets of one case may take


def run(section: Section, options: argparse.Namespace) -> None:
    """All cases, LeNet's first."""
    from gpunn._device import device

    target = device(options.device)
    torch = torch_or_none()
    section.value("PyTorch", "not there, or without a GPU: not compared" if torch is None else torch.__version__)
    section.value(
        "how",
        "microseconds a call within a CUDA graph, inputs rotated beyond the L2; eager: wall time a call; "
        "ratio: PyTorch's time / ours, its better layout; MB: what must move at least; predicted: by the cost model "
        "(gpunn.bench.predict), what limits it, and the time measured as a multiple of that",
    )
    ceiling = ceilings(section, target)
    left_out = []
    for case in all_cases(options.quick):
        name = f"{case.name} {case.direction}"
        line = {"line": case.id, "op": case.name, "direction": case.direction}
        if section.expired:
            if section.start(name):
                left_out.append(name)
                section.line("times", case.id, {}, **line, note=section.why)
            continue
        section.attempt(name, functools.partial(_time, section, case, target, torch, ceiling), target.synchronize)
        if not section.has("times", line=case.id):  # in this process or one before it
            section.line("times", case.id, {}, **line, note="failed")
        target.xp.get_default_memory_pool().free_all_blocks()
    if left_out:
        section.cut(f"{'; '.join(left_out)}: {section.why}")


def _time(section: Section, case: Case, target: Any, torch: Any, ceiling: Ceilings) -> None:
    with contextlib.ExitStack() as stack:
        stream = None if torch is None else stack.enter_context(torch_stream(torch))
        _time_on(stream, section, case, target, torch, ceiling)


def _time_on(stream: Any, section: Section, case: Case, target: Any, torch: Any, ceiling: Ceilings) -> None:
    l2 = target.xp.cuda.runtime.getDeviceProperties(target.ordinal)["l2CacheSize"]
    sets = max(1, min(16, math.ceil(2 * l2 / case.traffic), int(_CALL_BYTES / case.traffic)))
    arrays = [fill(target, case, seed) for seed in range(sets)]
    target.synchronize()
    calls = sets * max(1, 16 // sets)
    keep = case.traffic < 2 * l2
    runs = [case.ours(target, a) for a in arrays]
    error, note = None, None
    theirs: dict[str, TorchGraph] = {}
    if torch is not None:
        try:
            # SGD changes its arrays: PyTorch's clones must be made before anything runs.
            layouts = {"NHWC": True, "NCHW": False} if any(len(s) == 4 for s in case.shapes.values()) else {"": True}
            their_runs = {layout: [case.theirs(torch, a, last) for a in arrays] for layout, last in layouts.items()}
            stream.synchronize()
            error = difference(runs[0](), next(iter(their_runs.values()))[0]())
            theirs = {layout: TorchGraph(torch, stream, _cycle(r, calls), keep) for layout, r in their_runs.items()}
        except Exception as failure:  # ours is timed all the same
            note = f"not compared: {type(failure).__name__}"
            section.survive(f"{case.name} {case.direction}: PyTorch's side", failure)
    if error is not None and not error <= _TOLERANCE:
        section.fail(f"{case.name} {case.direction}: differs from PyTorch by {error:.2e} (relative to the largest)")
    with trace_launches() as launches:  # after the comparison: SGD changes its arrays
        runs[0]()
    ours = GpunnGraph(target, _cycle(runs, calls), keep)
    sides: tuple[GpunnGraph | TorchGraph, ...] = (ours, *theirs.values())
    start = time.monotonic()
    for number in range(_ROUNDS):
        for side in sides:
            side.sample()
        if number + 1 >= _LEAST_ROUNDS and time.monotonic() - start > _ROUNDS_SECONDS:
            break
    best = min(theirs, key=lambda layout: theirs[layout].timing.median, default=None)
    eager = ours.timing.eager_us
    row: dict[str, Any] = {"line": case.id, "op": case.name, "direction": case.direction, "µs": ours.timing.median}
    row |= {"±": f"{ours.timing.spread:.0%}", "eager µs": eager}
    row |= predicted(launches, this_card(target), ours.timing.median)
    row |= rates(ceiling, case.flop, case.traffic, ours.timing.median)
    measured: dict[str, float | None] = {BANDWIDTH: row["of copy"], MICROSECONDS: ours.timing.median}
    if best is not None:
        timing = theirs[best].timing
        measured[CUDNN] = measured[PYTORCH] = timing.median / ours.timing.median
        row |= {"PyTorch µs": timing.median, "layout": best, "PyTorch eager µs": timing.eager_us}
        row |= {"ratio": timing.median / ours.timing.median, "eager ratio": timing.eager_us / eager}
    row |= {"error": error} if note is None else {"error": error, "note": note}
    section.line("times", case.id, measured, **row)


def _cycle(runs: list[Any], calls: int) -> list[Any]:
    return [runs[number % len(runs)] for number in range(calls)]
