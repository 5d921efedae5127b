"""Example inputs of the primitives of ``gpunn/ops/layer_norm.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.layer_norm import layer_norm_backward, layer_norm_forward
from tests.examples import examples_for


@examples_for(layer_norm_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    # In kernels a warp has up to 128 or 512 columns, a block up to 2048 or 8192; in float64 half of that.
    shapes: tuple[tuple[int, int], ...] = (
        (5, 10),
        (3, 1),
        (1, 33),
        (0, 4),
        (70, 1025),
        (2, 5000),
        (35, 127),
        (9, 128),
        (17, 129),
        (19, 512),
    )
    shapes += ((3, 516), (130, 64), (2, 2048), (9, 2049), (1, 8192), (10, 8196), (0, 2049))
    doubles = ((6, 12), (4, 260), (3, 1025), (9, 4100))
    for number, (shape, dtype) in enumerate([*((s, np.float32) for s in shapes), *((s, np.float64) for s in doubles)]):
        x = (3 * rng.standard_normal(shape) + rng.standard_normal((shape[0], 1))).astype(dtype)
        weight, bias = ((rng.random(shape[1]) + 0.5).astype(dtype) for _ in range(2))
        # A row of one element has variance 0: its noise must not be enlarged by 1 / sqrt(1e-5).
        eps = 1e-5 if shape[1] > 1 else 0.1
        made.append({"x": x, "weight": weight if number % 3 != 1 else None, "bias": bias, "eps": eps})
        if number % 2:
            made[-1]["bias"] = None
    special = rng.standard_normal((3, 8)).astype(np.float32)
    special[0, 2] = np.nan
    return [*made, {"x": special, "weight": None, "bias": None, "eps": 1e-5}]


@examples_for(layer_norm_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    wanted = ((True, True, True), (True, False, False), (False, True, True), (True, False, True))
    made = []
    for number, example in enumerate(_forward_examples(rng)):
        x, weight = example["x"], example["weight"]
        _, mean, rstd = layer_norm_forward.plain(np, **example)
        dy = rng.standard_normal(x.shape).astype(x.dtype)
        needs = wanted[number % 4]
        made.append({"dy": dy, "x": x, "mean": mean, "rstd": rstd, "weight": weight, "needs": needs})
    return made
