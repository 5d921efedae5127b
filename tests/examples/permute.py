"""Example inputs of the primitives of ``gpunn/ops/permute.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.permute import batched_transpose, permute_axes
from tests.examples import examples_for


@examples_for(batched_transpose)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes = ((1, 3, 5), (2, 33, 31), (3, 64, 32), (2, 1, 40), (1, 70, 1), (0, 3, 2), (2, 0, 4))
    made = [{"x": rng.standard_normal(s).astype(np.float32)} for s in shapes]
    return [*made, {"x": rng.standard_normal((2, 5, 40))}]


@examples_for(permute_axes)
def _permute_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 1, 5)).astype(np.float32)
    made = [{"x": x, "axes": a} for a in ((0, 1, 2, 3), (3, 1, 0, 2), (0, 2, 1, 3))]
    made += [{"x": np.arange(6).reshape(1, 2, 3), "axes": (0, 2, 1)}, {"x": rng.random((3, 0)), "axes": (1, 0)}]
    made += [{"x": rng.random((2, 3, 4, 8)).astype(np.float32), "axes": (0, 2, 1, 3)}]
    deep = rng.integers(0, 99, (2, 3, 2, 3, 2, 2, 3)).astype(np.uint8)
    made += [{"x": deep, "axes": (6, 5, 4, 3, 2, 1, 0)}, {"x": deep > 50, "axes": (1, 0, 3, 2, 5, 4, 6)}]
    return [*made, {"x": rng.random((2, 3, 2, 3, 2)), "axes": (4, 0, 2, 1, 3)}]
