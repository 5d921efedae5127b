"""Every launch of a captured training step by itself: its time, its bytes and FLOP, and its share of the step."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._report.book import Section
from benchmarks._report.networks import STEPS, Step, gpunn_batch, gpunn_step
from benchmarks._report.predicted import predicted, this_card
from benchmarks._report.work import Ceilings, ceilings, rates
from gpunn.bench.cards import Card
from gpunn.bench.graphs import GpunnGraph
from gpunn.bench.sides import CallSide, CupyClock
from gpunn.bench.work import bytes_of, flop_of
from gpunn.gpu.launcher import Launch, trace_launches

_SAMPLES = 7
_BYTES = 2e9  # moved by one replay: twenty launches of what is small, a few of what is large


@dataclass
class Group:
    """Launches that are the same but for where their arrays lie."""

    launch: Launch
    count: int = 1


def run(section: Section, options: argparse.Namespace) -> None:
    """The steps of LeNet and ResNet-20 at batch 128, then the others."""
    from gpunn._device import device

    target = device(options.device)
    section.value("how", "microseconds a launch, one after the other in a CUDA graph, its arrays as warm as they get")
    ceiling = ceilings(section, target)
    for step in STEPS[:1] if options.quick else STEPS:
        if section.expired:
            section.cut(f"{step.title}: {section.why}")
        else:
            section.attempt(step.title, functools.partial(_step, section, step, target, ceiling), target.synchronize)
            target.xp.get_default_memory_pool().free_all_blocks()


def _step(section: Section, step: Step, target: Any, ceiling: Ceilings) -> None:
    import gpunn

    run_step = gpunn_step(step, target)
    batch = gpunn_batch(step.batches(1)[0], target)
    run_step(*batch)  # makes what is made once
    with trace_launches() as launches:
        run_step(*batch)
    target.synchronize()
    captured = gpunn.capture(gpunn_step(step, target))
    for _ in range(3):
        captured(*batch)
    side = CallSide(functools.partial(captured, *batch), CupyClock(target))
    for _ in range(_SAMPLES):
        side.sample()
    whole = 1e3 * sorted(side.samples)[len(side.samples) // 2]
    section.value(f"{step.title}: launches", len(launches))
    section.value(f"{step.title}: captured step, µs", whole)
    groups = grouped(launches)
    times = [time_launch(target, group.launch) for group in groups]
    together = sum(group.count * time.timing.median for group, time in zip(groups, times, strict=True))
    section.value(f"{step.title}: all its launches by themselves, µs", together)
    card = this_card(target)
    found = sorted(zip(groups, times, strict=True), key=lambda pair: -pair[0].count * pair[1].timing.median)
    for group, time in found:
        spent = group.count * time.timing.median
        row = {"share of step": spent / whole, **launch_row(group, time, ceiling, card)}
        section.row(f"launches of {step.title}", **row)


def launch_row(group: Group, time: GpunnGraph, ceiling: Ceilings, card: Card | None = None) -> dict[str, Any]:
    """The columns of one kind of launch."""
    launch, median = group.launch, time.timing.median
    return {
        "kernel": launch.kernel,
        "launches": group.count,
        "µs": median,
        "±": f"{time.timing.spread:.0%}",
        "eager µs": time.timing.eager_us,
        **predicted([launch], card, median),
        **rates(ceiling, flop_of(launch), bytes_of(launch), median),
        "grid": "×".join(map(str, launch.grid)),
        "block": "×".join(map(str, launch.block)),
    }


def grouped(launches: Sequence[Launch]) -> list[Group]:
    """Each kind of launch once, in the order they first come."""
    kinds: dict[tuple[Any, ...], Group] = {}
    for launch in launches:
        key = (launch.kernel, id(launch.module), launch.grid, launch.block, bytes_of(launch), flop_of(launch))
        if key in kinds:
            kinds[key].count += 1
        else:
            kinds[key] = Group(launch)
    return list(kinds.values())


def time_launch(target: Any, launch: Launch) -> GpunnGraph:
    """The launch, repeated in a graph and sampled."""
    repeats = max(3, min(20, int(_BYTES / max(bytes_of(launch), 1.0))))
    again: Callable[[], None] = launch.run
    graph = GpunnGraph(target, [again] * repeats, keep=False)
    for _ in range(_SAMPLES):
        graph.sample()
    return graph
