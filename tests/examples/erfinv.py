"""Example inputs of the primitives of ``gpunn/ops/erfinv.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.erfinv import erfinv_backward, erfinv_forward
from tests.examples import examples_for


@examples_for(erfinv_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    special = np.array([0.0, -0.0, np.nan, 1.0, -1.0, 0.85, -0.85, 1.5, 1e-30, 1 - 2.0**-24], np.float32)
    return [{"x": special}, {"x": 1 - 2.0 ** -np.arange(53)}] + [
        {"x": np.asarray(2 * rng.random(shape) - 1, dtype)}
        for shape, dtype in (((3, 5), np.float32), ((), np.float32), ((0, 2), np.float32), ((40, 41), np.float64))
    ]


@examples_for(erfinv_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": np.asarray(rng.standard_normal(e["x"].shape), e["x"].dtype), "y": e["x"]} for e in _examples(rng)]
