"""Example inputs of the primitives of ``gpunn/ops/clip_grad.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.clip_grad import clip_values, scale_arrays, scale_by_norm, total_norm
from tests.examples import examples_for
from tests.examples.multi_tensor import example_arrays

_SIZES: tuple[tuple[Sequence[int], Any], ...] = (
    ([1, 5, 4097], np.float32),
    ([12288, 3], np.float32),
    ([70_001], np.float32),  # more than one block of the CPU
    ([0, 7], np.float32),
    ([3] * 400, np.float32),  # more than one table
    ([33, 4], np.float64),
)


@examples_for(total_norm)
def _norm_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    norms = (2.0, math.inf, 1.0, 3.0, 2.0, 2.5)
    return [
        {"arrays": example_arrays(rng, sizes, dtype), "p": p} for (sizes, dtype), p in zip(_SIZES, norms, strict=True)
    ] + [{"arrays": [np.array([1, np.nan, 3], np.float32)], "p": p} for p in (2.0, math.inf)]


@examples_for(scale_by_norm)
def _scale_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, (sizes, dtype) in enumerate(_SIZES):
        norm = np.array((20.0, 0.5, 7.0)[number % 3], dtype)
        made.append({"arrays": example_arrays(rng, sizes, dtype), "norm": norm, "max_norm": 3.0})
    lost = {"arrays": example_arrays(rng, [4], np.float32), "norm": np.array(np.nan, np.float32), "max_norm": 3.0}
    return [*made, lost]


@examples_for(clip_values)
def _limit_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"arrays": example_arrays(rng, sizes, dtype), "limit": 0.5} for sizes, dtype in _SIZES]
    return [*made, {"arrays": [np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)], "limit": 0.25}]


@examples_for(scale_arrays)
def _factor_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"arrays": example_arrays(rng, sizes, dtype), "factor": 2.0**-16} for sizes, dtype in _SIZES]
    return [*made, {"arrays": [np.array([np.nan, np.inf, -0.0, 1e38], np.float32)], "factor": 3.0}]
