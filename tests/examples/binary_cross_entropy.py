"""Example inputs of the primitives of ``gpunn/ops/binary_cross_entropy.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward
from tests.examples import examples_for
from tests.examples.losses import with_gradient


@examples_for(binary_cross_entropy_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number, shape in enumerate(((3, 5), (2, 3, 3, 4), (1,), (), (0, 4), (8193,), (70_001,))):
        p, target, weight = (np.asarray(rng.random(shape), np.float32) for _ in range(3))
        for divisor in (None, 1.0, float(p.size))[: 2 + number % 2]:
            made.append({"p": p, "target": target, "weight": weight if number % 2 else None, "divisor": divisor})
    ends = np.array([0, 0, 1, 1, 1e-30, 0.5, np.nan, 0.5], np.float32)
    target = np.array([0, 1, 0, 1, 1, 0.5, 1, np.nan], np.float32)
    made += [{"p": ends, "target": target, "weight": None, "divisor": None}]
    made += [{"p": rng.random(17), "target": rng.random(17), "weight": rng.random(17), "divisor": 17.0}]
    return made


examples_for(binary_cross_entropy_backward)(lambda rng: with_gradient(rng, _examples(rng), "p"))
