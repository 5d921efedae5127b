"""Example inputs of the primitives of ``gpunn/ops/accumulate.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.accumulate import accumulate, add_same_shape, copy, scale, scale_by_scalar
from tests.examples import examples_for


@examples_for(add_same_shape)
def _pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    sizes = (
        (0, np.float32),
        ((), np.float32),
        (1, np.float32),
        (1027, np.float32),
        (2048, np.float32),
        (37, np.float64),
    )
    return [{name: np.asarray(rng.standard_normal(n), t) for name in ("a", "b")} for n, t in sizes]


@examples_for(accumulate)
def _accumulate_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"total": e["a"], "extra": e["b"]} for e in _pair_examples(rng)]


@examples_for(copy)
def _copy_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"]} for e in _pair_examples(rng)]


@examples_for(scale)
def _scale_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"], "factor": 0.3} for e in _pair_examples(rng)]


@examples_for(scale_by_scalar)
def _scale_by_scalar_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": e["a"], "factor": rng.standard_normal(1).astype(e["a"].dtype)} for e in _pair_examples(rng)]
