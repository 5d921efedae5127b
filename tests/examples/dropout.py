"""Example inputs of the primitives of ``gpunn/ops/dropout.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.dropout import dropout_apply
from tests.examples import examples_for


@examples_for(dropout_apply)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes = (
        (7,),
        (8,),
        (1003,),
        (4, 16),
        (2, 3, 5, 4),
        (3, 2, 4, 33),
        (2, 1, 1, 5),
        (2, 6, 7, 1),
        (0, 3),
        (0, 2, 2, 3),
        (4101,),  # several blocks
    )
    chances = (0.5, 0.1, 0.9, 0.0, 1.0)
    made = []
    for number, shape in enumerate(shapes):
        example = {"x": rng.standard_normal(shape).astype(np.float32), "p": chances[number % len(chances)]}
        # Counters and keys whose upper halves matter.
        place = {"key": (2**63 + 5, 2**40 + 1), "index": number, "base": np.array([2**33 * number], np.uint64)}
        made.append({**example, **place})
    return [*made, {**made[4], "x": rng.standard_normal((2, 3, 5, 4)), "p": 0.3}, {**made[2], "p": 0.3}]
