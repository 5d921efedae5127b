"""Example inputs of the primitives of ``gpunn/ops/tril.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.tril import triangle
from tests.examples import examples_for


@examples_for(triangle)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x[0, 0, 3] = x[0, 2, 0] = np.nan
    made = [{"x": x, "diagonal": d, "upper": u} for d in (-1, 0, 2) for u in (False, True)]
    images = rng.standard_normal((2, 1, 3, 3))
    return [
        *made,
        {"x": images, "diagonal": 0, "upper": True},
        {"x": rng.standard_normal((2, 8, 3, 4)).astype(np.float32), "diagonal": -1, "upper": False},
        {"x": rng.random((5, 5)) > 0.2, "diagonal": 0, "upper": False},
        {"x": np.ones((0, 3), int), "diagonal": 0, "upper": False},
    ]
