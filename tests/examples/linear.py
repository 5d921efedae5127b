"""Example inputs of the primitives of ``gpunn/ops/linear.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.linear import _Three, linear_backward
from tests.examples import examples_for
from tests.examples.activations import rectified


@examples_for(linear_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, d: int, m: int, relu: bool, needs: _Three, dtype: Any = np.float32) -> dict[str, Any]:
        y = rectified(rng, (n, m), dtype) if relu else None
        made = {"dy": rng.standard_normal((n, m)), "y": y, "x": rng.standard_normal((n, d))}
        arrays = {k: v if v is None else v.astype(dtype) for k, v in made.items()}
        return {**arrays, "weight": rng.standard_normal((m, d)).astype(dtype), "needs": needs}

    # One below, at and above a tile's edge; a batch long enough for slices; no batch.
    sizes = ((17, 63, 65), (16, 64, 64), (5, 65, 10), (700, 33, 20), (2200, 5, 70), (0, 3, 4))
    every = (True, True, True)
    made = [case(*size, relu, every) for size in sizes for relu in (True, False)]
    made += [case(9, 70, 12, True, needs) for needs in ((True, False, True), (True, True, False), (False, False, True))]
    made += [case(300, 70, 12, True, (False, True, True)), case(9, 7, 6, False, (True, False, False))]
    made += [case(260, 6, 7, True, every, np.float64), case(3, 0, 4, True, every), case(2, 3, 0, True, every)]
    # So many units that dx is split too, or both products are.
    made += [case(70, 36, 600, False, every), case(66, 36, 2100, True, every), case(300, 6, 300, True, every)]
    added = [{**e, "more": rng.standard_normal(e["x"].shape).astype(e["x"].dtype)} for e in made if e["needs"][0]]
    # So many inputs that each product has a launch; so many tiles that theirs would share tickets if they lay closer.
    return [*made, *added, case(3, 17000, 2, True, every), case(256, 4, 1024, False, every)]
