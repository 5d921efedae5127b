"""Every way in which the products of the case list may be computed: measured, and beside it what the model predicts."""

from __future__ import annotations

import argparse
import functools
import math
from typing import Any

from benchmarks._report.book import Section
from benchmarks._report.cases import all_cases, fill
from benchmarks._report.predicted import this_card
from gpunn.bench.cards import Card
from gpunn.bench.case import Case
from gpunn.bench.machine_code import MachineCodeError
from gpunn.bench.tune import Run, Trials, predicted, timed
from gpunn.gpu.choices import Key, Way, tuned_by


def run(section: Section, options: argparse.Namespace) -> None:
    """All cases that have such products, those with a target first."""
    from gpunn._device import device

    target = device(options.device)
    section.value("how", "microseconds within a CUDA graph; rule: what is taken unless gpunn tune has measured")
    card = this_card(target)
    left_out = []
    for case in all_cases(options.quick):
        if case.direction == "ceiling":
            continue
        name = f"{case.name} {case.direction}"
        if section.expired:
            left_out.append(name)
            continue
        section.attempt(name, functools.partial(_try, section, case, target, card), target.synchronize)
        target.xp.get_default_memory_pool().free_all_blocks()
    if left_out:
        section.cut(f"{'; '.join(left_out)}: {section.why}")


def _try(section: Section, case: Case, target: Any, card: Card | None) -> None:
    call = case.ours(target, fill(target, case, 0))
    measured, expected = Trials(timed), {} if card is None else _expected(call, card)
    with tuned_by(measured):
        call()
    for key, trial in measured.found.items():
        for way, us in trial.us.items():
            row: dict[str, Any] = {"line": case.id, "kernel": trial.kernel, "way": " ".join(map(str, way)), "µs": us}
            row |= {"predicted µs": expected.get((key, way)), "rule": "rule" * (way == trial.rule)}
            section.row("ways", **row, fastest="fastest" * (us == min(trial.us.values())))


def _expected(call: Run, card: Card) -> dict[tuple[Key, Way], float]:
    trials = Trials(predicted(card))
    try:
        with tuned_by(trials):
            call()
    except MachineCodeError:  # neither in the table, nor is there a disassembler
        return {}
    return {(key, way): us for key, one in trials.found.items() for way, us in one.us.items() if math.isfinite(us)}
