"""Example inputs of the primitives of ``gpunn/ops/maximum.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.maximum import pair_backward
from tests.examples import examples_for


@examples_for(pair_backward)
def _pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    a, b = (rng.integers(0, 3, (4, 5)).astype(np.float32) for _ in range(2))
    b[0, 0] = np.nan
    dy = rng.standard_normal((4, 5)).astype(np.float32)
    pairs = ((a, b), (a, b[0].copy()), (a, np.float32(1)), (a[:, :1].copy(), b))
    made = [{"dy": dy, "a": p, "b": q, "largest": big} for p, q in pairs for big in (True, False)]
    made += [{**example, "bounds": True} for example in made]
    wide = rng.integers(0, 3, (3, 8)).astype(np.float64)
    return [*made, {"dy": np.ones((3, 8)), "a": wide, "b": wide[0].copy(), "largest": True}]
