"""How long kernels take, and how long PyTorch takes for the same."""

from __future__ import annotations

import argparse
import contextlib
import math
from typing import Any

from benchmarks._report.book import Section
from benchmarks._report.cases import all_cases, fill
from gpunn.bench.case import Case, difference
from gpunn.bench.graphs import GpunnGraph, TorchGraph, torch_or_none, torch_stream

# Sums of up to a million products in float32, in different orders (or through Winograd), relative to the
# largest element; a wrong kernel is off by far more.
_TOLERANCE = 1e-3
_ROUNDS = 25
_CALL_BYTES = 4e9  # as much memory as the sets of one case may take


def run(section: Section, options: argparse.Namespace) -> None:
    """All cases, LeNet's first."""
    from gpunn._device import device

    target = device(options.device)
    if target.ordinal is None or target.loader is None:
        section.cut(f"needs a GPU: times on '{target}' say nothing about kernels")
        return
    torch = torch_or_none()
    section.value("PyTorch", "not there, or without a GPU: not compared" if torch is None else torch.__version__)
    section.value(
        "how",
        "microseconds a call within a CUDA graph, inputs rotated beyond the L2; eager: wall time a call; "
        "ratio: PyTorch's time / ours, its better layout",
    )
    left_out = []
    for case in all_cases(options.quick):
        name = f"{case.name} {case.direction}"
        if section.expired:
            left_out.append(name)
        elif section.start(name):
            try:
                with contextlib.ExitStack() as stack:
                    stream = None if torch is None else stack.enter_context(torch_stream(torch))
                    _time(section, case, target, torch, stream)
            except Exception as error:
                section.fail(name, error)
            target.xp.get_default_memory_pool().free_all_blocks()
    if left_out:
        section.cut("no time for " + "; ".join(left_out))


def _time(section: Section, case: Case, target: Any, torch: Any, stream: Any) -> None:
    l2 = target.xp.cuda.runtime.getDeviceProperties(target.ordinal)["l2CacheSize"]
    sets = max(1, min(16, math.ceil(2 * l2 / case.traffic), int(_CALL_BYTES / case.traffic)))
    arrays = [fill(target, case, seed) for seed in range(sets)]
    target.synchronize()
    calls = sets * max(1, 16 // sets)
    keep = case.traffic < 2 * l2
    runs = [case.ours(target, a) for a in arrays]
    error = None
    theirs: dict[str, TorchGraph] = {}
    if torch is not None:
        # SGD changes its arrays: PyTorch's clones must be made before anything runs.
        layouts = {"NHWC": True, "NCHW": False} if any(len(s) == 4 for s in case.shapes.values()) else {"": True}
        their_runs = {layout: [case.theirs(torch, a, last) for a in arrays] for layout, last in layouts.items()}
        stream.synchronize()
        error = difference(runs[0](), next(iter(their_runs.values()))[0]())
        if not error <= _TOLERANCE:
            section.fail(f"{case.name} {case.direction}: differs from PyTorch by {error:.2e} (relative to the largest)")
        theirs = {layout: TorchGraph(torch, stream, _cycle(r, calls), keep) for layout, r in their_runs.items()}
    ours = GpunnGraph(target, _cycle(runs, calls), keep)
    for _ in range(_ROUNDS):
        for side in (ours, *theirs.values()):
            side.sample()
        if section.remaining < -5:
            break
    best = min(theirs, key=lambda layout: theirs[layout].timing.median, default=None)
    row: dict[str, Any] = {
        "op": case.name,
        "direction": case.direction,
        "µs": ours.timing.median,
        "±": f"{ours.timing.spread:.0%}",
        "eager µs": ours.timing.eager_us,
        "GFLOP/s": case.flop / ours.timing.median / 1e3 if case.flop else None,
        "GB/s": case.traffic / ours.timing.median / 1e3,
    }
    if best is not None:
        timing = theirs[best].timing
        row |= {"PyTorch µs": timing.median, "layout": best, "PyTorch eager µs": timing.eager_us}
        row |= {
            "ratio": timing.median / ours.timing.median,
            "eager ratio": timing.eager_us / ours.timing.eager_us,
        }
        row["error"] = error
    section.row("times", **row)


def _cycle(runs: list[Any], calls: int) -> list[Any]:
    return [runs[number % len(runs)] for number in range(calls)]
