"""The race detector against the definition of a race, on random programs.

A program is a list of steps; each thread goes through all of them and does those that are its own:
read, write or atomically change one of a few cells, meet at a block barrier, or meet some lanes of a warp.
The definition: two accesses to a cell, not both reads and not both atomics, that no chain of meetings orders.
The detector keeps a few numbers per cell instead of all accesses, and must come to the same verdict.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from gpunn.emulator import Argument, EmulatorFinding, available, compile_module, schedule

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

SOURCE = """\
struct Step { int what, block, thread, cell; unsigned mask; };
enum { read, write, atomic, meet_block, meet_lanes };

__device__ __forceinline__ int run(int* cells, const Step* steps, int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i) {
        const Step s = steps[i];
        const bool mine = s.block == blockIdx.x && s.thread == threadIdx.x;
        if (s.what == read && mine) sum += cells[s.cell];
        if (s.what == write && mine) cells[s.cell] = i;
        if (s.what == atomic && mine) atomicAdd(&cells[s.cell], 1);
        if (s.what == meet_block) __syncthreads();
        if (s.what == meet_lanes && s.thread / 32 == threadIdx.x / 32 && s.mask >> threadIdx.x % 32 & 1)
            __syncwarp(s.mask);
    }
    return sum;
}
extern "C" __global__ void in_shared(int* y, const Step* steps, int n) {
    __shared__ int cells[4];
    if (threadIdx.x < 4) cells[threadIdx.x] = 0;
    __syncthreads();
    y[blockIdx.x * blockDim.x + threadIdx.x] = run(cells, steps, n);
}
extern "C" __global__ void in_global(int* y, int* cells, const Step* steps, int n) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = run(cells, steps, n);
}
"""
READ, WRITE, ATOMIC, MEET_BLOCK, MEET_LANES = range(5)
LANES = (0, 1, 5)  # of each warp: few, so that they meet on the same cells
THREADS = [warp * 32 + lane for warp in range(2) for lane in LANES]


@dataclass(frozen=True)
class Step:
    what: int
    block: int = 0
    thread: int = 0
    cell: int = 0
    mask: int = 0


def random_program(rng: np.random.Generator, blocks: int) -> list[Step]:
    # Programs of mostly reads, or mostly atomics, get far before their first race, if they have one.
    weights = [(6, 2, 1, 1, 5), (8, 1, 0, 1, 4), (2, 2, 6, 1, 4), (3, 3, 0, 1, 8)][rng.integers(4)]
    program = []
    for _ in range(rng.integers(4, 16)):
        what = int(rng.choice(5, p=np.array(weights) / sum(weights)))
        thread, block, cell = int(rng.choice(THREADS)), int(rng.integers(blocks)), int(rng.integers(2))
        some = [lane for lane in LANES if rng.random() < 0.7]
        # The lanes that never touch a cell join only the barriers of the whole warp.
        mask = 0xFFFFFFFF if rng.random() < 0.3 else sum(1 << lane for lane in some)
        if what != MEET_LANES or mask:
            program.append(Step(what, block, thread, cell, mask))
    return program


def has_race(program: list[Step], blocks: int) -> bool:
    """Decide by the definition: what each thread's present has behind it, as sets of steps."""
    for block in range(blocks):
        behind: dict[int, set[int]] = {thread: set() for thread in THREADS}
        past: dict[int, set[int]] = {}
        for i, step in enumerate(program):
            if step.what == MEET_BLOCK or step.what == MEET_LANES:
                together = [
                    thread
                    for thread in THREADS
                    if step.what == MEET_BLOCK or (thread // 32 == step.thread // 32 and step.mask >> thread % 32 & 1)
                ]
                union = set().union(*(behind[thread] for thread in together))
                for thread in together:
                    behind[thread] = set(union)
            elif step.block == block:
                past[i] = set(behind[step.thread])
                behind[step.thread].add(i)
        for i, j in itertools.combinations(past, 2):
            if conflict(program[i], program[j]) and i not in past[j]:
                return True
    pairs = itertools.combinations((s for s in program if s.what <= ATOMIC), 2)
    return any(a.block != b.block and conflict(a, b) for a, b in pairs)


def conflict(a: Step, b: Step) -> bool:
    kinds = {a.what, b.what}
    return a.cell == b.cell and kinds != {READ} and kinds != {ATOMIC}


def finds_race(program: list[Step], blocks: int, shared: bool) -> bool:
    steps = np.array(
        [(s.what, s.block, s.thread, s.cell, s.mask) for s in program],
        np.dtype([("what", "i4"), ("block", "i4"), ("thread", "i4"), ("cell", "i4"), ("mask", "u4")]),
    )
    arguments = [
        Argument(np.empty(64 * blocks, np.int32), "out", "y"),
        Argument(steps, "in", "steps"),
        Argument(np.int32(len(program)), "in", "n"),
    ]
    if not shared:
        arguments.insert(1, Argument(np.zeros(4, np.int32), "inout", "cells"))
    module = compile_module(SOURCE, "programs.cu", {})
    try:
        module.launch("in_shared" if shared else "in_global", (blocks, 1, 1), (64, 1, 1), arguments)
    except EmulatorFinding as finding:
        if finding.kind == "race":
            return True
        raise
    return False


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
@pytest.mark.parametrize(("blocks", "shared"), [(1, True), (1, False), (2, False)])
def test_verdicts_agree_with_the_definition(blocks: int, shared: bool, order: str) -> None:
    rng = np.random.default_rng(blocks)
    verdicts = []
    for seed in range(600):
        program = random_program(rng, blocks)
        expected = has_race(program, blocks)
        with schedule(order, seed):
            found = finds_race(program, blocks, shared)
        assert found == expected, f"program {seed}: {program}"
        verdicts.append(expected)
    assert 0.2 < np.mean(verdicts) < 0.9  # both kinds of programs were there
