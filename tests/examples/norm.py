"""Example inputs of the primitives of ``gpunn/ops/norm.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.ops.norm import norm_axes, norm_backward
from tests.examples import examples_for


@examples_for(norm_axes)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    ps = (0.0, 1.0, 2.0, 3.0, 1.5, math.inf, -math.inf)
    made = [{"x": x, "axes": a, "p": p} for p in ps for a in ((1, 3), (0, 1, 2, 3))]
    return [*made, {"x": rng.standard_normal((3, 300)), "axes": (1,), "p": 2.0}, {"x": x[:0], "axes": (1,), "p": 3.0}]


@examples_for(norm_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for p in (0.0, 0.5, 1.0, 2.0, 3.0, 1.5, math.inf, -math.inf):
        x = rng.standard_normal((2, 3, 4)).astype(np.float32)
        x[0] = 0
        x[1, 0, 0] = (1.0, np.nan)[math.isinf(p)]
        y = norm_axes.plain(np, x, (1, 2), p)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        made.append({"dy": dy, "x": x, "y": y, "axes": (1, 2), "p": p})
    return made
