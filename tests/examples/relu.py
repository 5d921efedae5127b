"""Example inputs of the primitives of ``gpunn/ops/relu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.relu import relu_backward, relu_forward
from tests.examples import examples_for


@examples_for(relu_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    # 1e-37 is the smallest kind of number that a GPU tells from 0: NVRTC is always given -ftz=true.
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-37, -1.0], np.float32)
    return [{"x": special}] + [
        {"x": rng.standard_normal(shape).astype(dtype)}
        for shape, dtype in (((3, 5), np.float32), ((2, 4, 4, 8), np.float32), ((0,), np.float32), ((17,), np.float64))
    ]


@examples_for(relu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"dy": rng.standard_normal(e["x"].shape).astype(e["x"].dtype), "y": np.maximum(e["x"], 0)}
        for e in _forward_examples(rng)
    ]
