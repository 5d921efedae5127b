"""Example inputs of the primitives of ``gpunn/ops/group_norm.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.group_norm import group_norm_backward, group_norm_forward
from tests.examples import examples_for

# (N, P, G, K, Q): images, with one channel a group and with one group; of several chunks, of tiles of channels, of more
# items than a block has; then channels before positions; features; nothing.
_SHAPES = (
    (2, 20, 3, 4, 1),
    (3, 9, 5, 1, 1),
    (2, 7, 1, 6, 1),
    (1, 1100, 2, 4, 1),
    (2, 150, 2, 65, 1),
    (1, 3, 1, 300, 1),
    (70, 4, 2, 2, 1),
    (2, 1, 2, 3, 20),
    (1, 1, 2, 2, 9000),
    (2, 1, 3, 1, 4101),
    (300, 1, 1, 2, 3),
    (5, 1, 2, 8, 1),
    (33, 1, 3, 3, 1),
    (1, 1, 1, 1, 5),
    (0, 6, 2, 2, 1),
    (0, 1, 2, 2, 5),
    (2, 0, 2, 2, 1),
    (2, 1, 2, 3, 0),
)
_DOUBLES = ((2, 18, 2, 4, 1), (2, 100, 1, 129, 1), (2, 1, 2, 3, 8), (4, 1, 3, 5, 1))


@examples_for(group_norm_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    shapes = [*((s, np.float32) for s in _SHAPES), *((s, np.float64) for s in _DOUBLES)]
    for number, (shape, dtype) in enumerate(shapes):
        x = (3 * rng.standard_normal(shape) + rng.standard_normal(shape[2:3])[:, None, None]).astype(dtype)
        weight, bias = ((rng.random(shape[2:4]) + 0.5).astype(dtype) for _ in range(2))
        # A group of one number has variance 0: its noise must not be enlarged by 1 / sqrt(1e-5).
        eps = 1e-5 if shape[1] * shape[3] * shape[4] > 3 else 0.1
        made.append({"x": x, "weight": weight if number % 3 != 1 else None, "bias": bias, "eps": eps})
        if number % 2:
            made[-1]["bias"] = None
    # Far from 0, where the CPU subtracts the mean first; NaN, which must stay in its group; a channel that overflows.
    far = (30 + rng.standard_normal((2, 20, 2, 4, 1))).astype(np.float32)
    strange = rng.standard_normal((2, 20, 2, 4, 1)).astype(np.float32)
    strange[0, 3, 1, 2] = np.nan
    infinite = np.ones((2, 4), np.float32)
    infinite[1, 1] = np.inf
    for x, weight in ((far, None), (strange, None), (far, infinite)):
        made.append({"x": x, "weight": weight, "bias": None, "eps": 1e-5})
    return made


@examples_for(group_norm_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    wanted = ((True, True, True), (True, False, False), (False, True, True), (True, False, True), (False, True, False))
    made = []
    for number, example in enumerate(_forward_examples(rng)):
        x, weight = example["x"], example["weight"]
        _, mean, rstd = group_norm_forward.plain(np, **example)
        dy = rng.standard_normal(x.shape).astype(x.dtype)
        needs = wanted[number % len(wanted)]
        made.append({"dy": dy, "x": x, "mean": mean, "rstd": rstd, "weight": weight, "needs": needs})
    # Infinity must come out where the formula has it, and NaN nowhere else.
    usual = made[0]
    infinite = usual["dy"].copy()
    infinite[0, 3, 1, 2] = np.inf
    return [*made, {**usual, "dy": infinite, "needs": (True, True, True)}]
