"""Example inputs of the primitives of ``gpunn/ops/clamp.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.clamp import clamp_backward, clamp_forward
from tests.examples import examples_for


@examples_for(clamp_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    special = np.array([np.nan, np.inf, -np.inf, 0.5, -0.5, 0.0], np.float32)
    drawn = (rng.standard_normal((3, 5)).astype(np.float32), rng.standard_normal(140000), np.zeros((0, 2), np.float32))
    bounds = ((-0.5, 0.5), (None, 0.5), (0.0, None), (0.5, -0.5))
    made = [{"x": x, "low": low, "high": high} for x in (special, *drawn) for low, high in bounds]
    return [*made, {"x": np.arange(5), "low": 1, "high": 3}]


@examples_for(clamp_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": np.ones_like(e["x"]), **e} for e in _examples(rng) if e["x"].dtype.kind == "f"]
