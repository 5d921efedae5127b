"""Example inputs of the primitives of ``gpunn/ops/atan.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.atan import FUNCTIONS, atan2_backward, atan2_forward, atan_backward, atan_forward
from tests.examples import examples_for

_SHAPES = (((3, 5), np.float32), ((), np.float32), ((0, 2), np.float32), ((7,), np.float64))


@examples_for(atan_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, -1.0, 1.0, 1.5, 1e-30], np.float32)
    drawn = [np.asarray(2 * rng.random(shape) - 0.5, dtype) for shape, dtype in _SHAPES]
    return [{"name": name, "x": x} for name in FUNCTIONS for x in (special, *drawn)]


@examples_for(atan_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{**e, "dy": np.asarray(rng.standard_normal(e["x"].shape), e["x"].dtype)} for e in _examples(rng)]


@examples_for(atan2_forward)
def _points(rng: np.random.Generator) -> list[dict[str, Any]]:
    a = np.array([0.0, -0.0, 0.0, np.nan, np.inf, 1.0, -1.0], np.float32)
    drawn = [[np.asarray(rng.standard_normal(shape), dtype) for _ in "ab"] for shape, dtype in _SHAPES]
    return [{"a": a, "b": a[::-1].copy()}, *({"a": a, "b": b} for a, b in drawn)]


@examples_for(atan2_backward)
def _points_backward(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": np.asarray(rng.standard_normal(e["a"].shape), e["a"].dtype), **e} for e in _points(rng)]
