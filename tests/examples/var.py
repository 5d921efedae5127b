"""Example inputs of the primitives of ``gpunn/ops/var.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.var import variance_axes, variance_backward
from tests.examples import examples_for


@examples_for(variance_axes)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = (100 + rng.standard_normal((2, 3, 4, 5))).astype(np.float32)
    made: list[dict[str, Any]] = [
        {"x": x, "axes": a, "divisor": 3.0, "root": r} for a in ((0,), (1, 3), (0, 1, 2, 3)) for r in (True, False)
    ]
    large = (5 + rng.standard_normal((9, 40, 12))).astype(np.float32)
    made += [{"x": large, "axes": a, "divisor": 7.0, "root": False} for a in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))]
    made += [{"x": rng.random((3, 3001)), "axes": (1,), "divisor": 3000.0, "root": True}]
    return [*made, {"x": np.zeros((0, 3)), "axes": (0,), "divisor": 0.0, "root": False}]


@examples_for(variance_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x[0] = 1
    mean, std = x.mean(1, keepdims=True), x.std(1, keepdims=True)
    dy = rng.standard_normal((2, 1, 4)).astype(np.float32)
    made = [{"dy": dy, "x": x, "mean": mean, "std": s, "divisor": 2.0} for s in (None, std)]
    y = rng.standard_normal((2, 3, 4, 5))
    kept = {"mean": y.mean((1, 2), keepdims=True), "std": y.std((1, 2), keepdims=True)}
    return [*made, {"dy": rng.standard_normal((2, 1, 1, 5)), "x": y, **kept, "divisor": 11.0}]
