"""Asynchronous copies against the definition of what is wrong with them, on random programs.

A copy reads its source and writes its destination at some time between where it starts and where its thread
waits for its group. The definition: an access that conflicts with it must have come before the start, or come
after that wait, by a chain of barriers or in the same thread; and every copy must be waited for.
The emulator does the copy at the wait, and must come to the same verdict, in every order of the threads.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from gpunn.emulator import Argument, EmulatorFinding, available, compile_module, schedule
from tests.emulator.sources import with_headers

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

SOURCE = """\
#include "tensor_core.cuh"
struct Step { int what, thread, cell, source; unsigned mask; };
enum { read, write, meet_block, meet_lanes, copy, commit, wait };

extern "C" __global__ void run(int* y, int* cells, const Step* steps, int n) {
    __shared__ int tile[2];  // cells 0 and 1; 2 and 3 are in global memory
    if (threadIdx.x < 2) tile[threadIdx.x] = 0;
    __syncthreads();
    int sum = 0;
    for (int i = 0; i < n; ++i) {
        const Step s = steps[i];
        int* cell = s.cell < 2 ? &tile[s.cell] : &cells[s.cell - 2];
        if (s.what == meet_block) __syncthreads();
        if (s.what == meet_lanes && s.thread / 32 == threadIdx.x / 32 && s.mask >> threadIdx.x % 32 & 1)
            __syncwarp(s.mask);
        if (s.thread != threadIdx.x) continue;
        if (s.what == read) sum += *cell;
        if (s.what == write) *cell = i;
        if (s.what == copy) cp_async_4(cell, &cells[s.source - 2]);
        if (s.what == commit) cp_async_commit();
        if (s.what == wait && s.cell == 0) cp_async_wait<0>();
        if (s.what == wait && s.cell == 1) cp_async_wait<1>();
        if (s.what == wait && s.cell == 2) cp_async_wait<2>();
    }
    y[threadIdx.x] = sum;
}
"""
READ, WRITE, MEET_BLOCK, MEET_LANES, COPY, COMMIT, WAIT = range(7)
THREADS = (0, 1, 5, 32, 33)


@dataclass(frozen=True)
class Step:
    what: int
    thread: int
    cell: int = 0  # of a wait: how many groups may stay
    source: int = 2
    mask: int = 0xFFFFFFFF


def random_program(rng: np.random.Generator) -> list[Step]:
    """Return steps around a few copies that are mostly committed and waited for."""
    program: list[Step] = []
    few = rng.choice(THREADS, 3)

    def thread() -> int:
        return int(rng.choice(few))

    def access() -> Step:
        return Step(int(rng.choice([READ, READ, WRITE])), thread(), int(rng.integers(4)))

    def meet() -> Step:
        lanes = 0xFFFFFFFF if rng.random() < 0.5 else sum(1 << lane for lane in (0, 1, 5) if rng.random() < 0.7)
        return Step(MEET_BLOCK if rng.random() < 0.5 or not lanes else MEET_LANES, thread(), mask=lanes)

    for _ in range(rng.integers(1, 3)):
        owner = thread()
        part = [access(), meet()] if rng.random() < 0.5 else []
        for _ in range(rng.integers(1, 3)):
            part.append(Step(COPY, owner, int(rng.integers(2)), int(rng.integers(2, 4))))
            part.append(Step(COMMIT, owner))
        part.append(Step(WAIT, owner, int(rng.choice(3, p=[0.7, 0.2, 0.1]))))
        part += [meet(), access()]
        if rng.random() < 0.3:
            part.insert(int(rng.integers(len(part) + 1)), access())
        if rng.random() < 0.3:
            part.insert(int(rng.integers(len(part) + 1)), meet())
        if rng.random() < 0.2:
            part.insert(int(rng.integers(len(part) + 1)), Step(COMMIT, owner))
        program += [step for step in part if rng.random() < 0.95]
    # What is left is waited for at the end, mostly.
    for owner in {step.thread for step in program if step.what == COPY}:
        if rng.random() < 0.9:
            program += [Step(COMMIT, owner), Step(WAIT, owner)]
    return program


def waits_of(program: list[Step]) -> dict[int, int | None]:
    """Return for each copy the step that waits for it."""
    found: dict[int, int | None] = {}
    for owner in THREADS:
        groups: list[list[int]] = []
        open_group: list[int] = []
        for i, step in enumerate(program):
            if step.thread != owner:
                continue
            if step.what == COPY:
                found[i] = None
                open_group.append(i)
            elif step.what == COMMIT:
                groups.append(open_group)
                open_group = []
            elif step.what == WAIT:
                for copy in itertools.chain(*groups[: max(0, len(groups) - step.cell)]):
                    if found[copy] is None:
                        found[copy] = i
    return found


def effects(step: Step) -> list[tuple[int, bool]]:
    """Return (cell, whether it is written) for each cell that the step touches."""
    if step.what == COPY:
        return [(step.cell, True), (step.source, False)]
    return [(step.cell, step.what == WRITE)] if step.what in (READ, WRITE) else []


def is_wrong(program: list[Step]) -> bool:
    waits = waits_of(program)
    if None in waits.values():
        return True
    past: dict[int, set[int]] = {}
    behind: dict[int, set[int]] = {thread: set() for thread in THREADS}
    for i, step in enumerate(program):
        if step.what in (MEET_BLOCK, MEET_LANES):
            together = [
                thread
                for thread in THREADS
                if step.what == MEET_BLOCK or (thread // 32 == step.thread // 32 and step.mask >> thread % 32 & 1)
            ]
            union = set().union(*(behind[thread] for thread in together))
            for thread in together:
                behind[thread] = set(union)
        else:
            past[i] = set(behind[step.thread])
            behind[step.thread].add(i)

    def comes_before(i: int, j: int) -> bool:
        end = waits.get(i, i)
        return end in past[j]

    for i, j in itertools.combinations(past, 2):
        conflict = any(
            a == b and (wa or wb) for a, wa in effects(program[i]) for b, wb in effects(program[j])
        )  # fmt: skip
        if conflict and not comes_before(i, j) and not comes_before(j, i):
            return True
    return False


def finds_fault(program: list[Step]) -> str | None:
    steps = np.array(
        [(s.what, s.thread, s.cell, s.source, s.mask) for s in program],
        np.dtype([("what", "i4"), ("thread", "i4"), ("cell", "i4"), ("source", "i4"), ("mask", "u4")]),
    )
    arguments = [
        Argument(np.empty(64, np.int32), "out", "y"),
        Argument(np.zeros(2, np.int32), "inout", "cells"),
        Argument(steps, "in", "steps"),
        Argument(np.int32(len(program)), "in", "n"),
    ]
    try:
        module = compile_module(with_headers(SOURCE, "copies.cu"), "copies.cu", {})
        module.launch("run", (1, 1, 1), (64, 1, 1), arguments)
    except EmulatorFinding as finding:
        return finding.kind
    return None


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_verdicts_agree_with_the_definition(order: str) -> None:
    rng = np.random.default_rng(11)
    kinds: list[str | None] = []
    for seed in range(1500):
        program = random_program(rng)
        with schedule(order, seed):
            kinds.append(finds_fault(program))
        assert (kinds[-1] is not None) == is_wrong(program), f"program {seed}: {kinds[-1]}, {program}"
    assert 0.1 < np.mean([kind is None for kind in kinds]) < 0.7  # both kinds of programs were there
    assert {"race", "undelivered", "unwaited", None} <= set(kinds)
