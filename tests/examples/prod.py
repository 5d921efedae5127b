"""Example inputs of the primitives of ``gpunn/ops/prod.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.prod import prod_axis, prod_backward
from tests.examples import examples_for


@examples_for(prod_axis)
def _prod_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 2)).astype(np.float32)
    made = [{"x": x, "axis": a} for a in (0, 1, 3)] + [{"x": x[0, 0, 0], "axis": 0}, {"x": x[:, :0], "axis": 1}]
    return [*made, {"x": np.array([[3, -2], [5, 7]], np.int32), "axis": 0}, {"x": 1 + rng.random((3, 40)), "axis": 1}]


@examples_for(prod_backward)
def _prod_backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x[0, 1, 0] = x[1, 1, 1] = x[1, 2, 1] = 0
    empty = {"dy": np.ones((2, 1)), "x": np.zeros((2, 0)), "axis": 1}
    image = rng.standard_normal((2, 3, 4, 5))
    made = [{"dy": rng.random(image.sum(a, keepdims=True).shape), "x": image, "axis": a} for a in range(4)]
    return [{"dy": np.ones((2, 1, 4), np.float32), "x": x, "axis": 1}, empty, *made]
