"""Example inputs of the primitives of ``gpunn/ops/binary_cross_entropy_with_logits.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.binary_cross_entropy_with_logits import (
    binary_cross_entropy_with_logits_backward,
    binary_cross_entropy_with_logits_forward,
)
from tests.examples import examples_for
from tests.examples.losses import with_gradient


@examples_for(binary_cross_entropy_with_logits_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, shape in enumerate(((3, 5), (2, 3, 3, 4), (1,), (), (0, 4), (8193,), (70_001,))):
        x, target, weight, pos_weight = (np.asarray(rng.random(shape), np.float32) for _ in range(4))
        for divisor in (None, 1.0, float(x.size))[: 2 + number % 2]:
            weights = {"weight": weight if number % 2 else None, "pos_weight": pos_weight if number % 3 else None}
            made.append({"x": np.asarray(9 * x - 4, np.float32), "target": target, **weights, "divisor": divisor})
    x = np.array([1e4, 1e4, -1e4, -1e4, np.inf, -np.inf, np.nan, 0], np.float32)
    target = np.array([1, 0, 1, 0, 0, 1, 1, np.nan], np.float32)
    made += [{"x": x, "target": target, "weight": None, "pos_weight": None, "divisor": None}]
    doubles = {name: rng.random(17) for name in ("x", "target", "weight", "pos_weight")}
    return [*made, {**doubles, "divisor": 17.0}]


examples_for(binary_cross_entropy_with_logits_backward)(lambda rng: with_gradient(rng, _examples(rng)))
