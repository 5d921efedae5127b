"""Example inputs of the primitives of ``gpunn/ops/erf.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.erf import erf_backward, erf_forward
from tests.examples import examples_for


@examples_for(erf_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, -0.5, 6.0, -7.0, 1e-30], np.float32)
    return [{"x": special}] + [
        {"x": np.asarray(3 * rng.standard_normal(shape), dtype)}
        for shape, dtype in (((3, 5), np.float32), ((), np.float32), ((0, 2), np.float32), ((40, 4001), np.float64))
    ]


@examples_for(erf_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": np.asarray(rng.standard_normal(e["x"].shape), e["x"].dtype), "x": e["x"]} for e in _examples(rng)]
