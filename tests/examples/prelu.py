"""Example inputs of the primitives of ``gpunn/ops/prelu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.prelu import prelu_backward, prelu_forward
from tests.examples import examples_for


# All primitives see x as (rows, C, inner) with one weight for each of the C: what lies before the channels, the
# channels, what lies after them in memory. For images, stored channels last, inner is 1.
@examples_for(prelu_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(*shape: int, dtype: Any = np.float32) -> dict[str, Any]:
        weight = np.array([0.25, -0.5, 2.0, 0.0, 1.0, 0.1])[np.arange(shape[1]) % 6]
        return {"x": rng.standard_normal(shape).astype(dtype), "weight": weight.astype(dtype)}

    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-37, -1e-37, -1.0], np.float32)
    made = [{"x": special.reshape(2, 1, 4), "weight": np.full(1, 0.25, np.float32)}]
    made += [case(50, 3, 1), case(300, 8, 1), case(7, 1, 20), case(5, 4, 3), case(3, 2, 8), case(0, 3, 2)]
    made += [case(1, 1, 1), case(2, 1, 1027), case(20, 5, 1, dtype=np.float64), case(2, 0, 3), case(9, 4, 2)]
    return [*made, case(130, 2, 160)]  # several chunks of rows, and more sums of a channel than a block has threads


@examples_for(prelu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    wanted = ((True, True), (False, True), (True, False))
    return [
        {"dy": rng.standard_normal(e["x"].shape).astype(e["x"].dtype), **e, "needs": wanted[i % 3 if i > 3 else 0]}
        for i, e in enumerate(_examples(rng))
    ]
