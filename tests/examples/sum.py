"""Example inputs of the primitives of ``gpunn/ops/sum.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.sum import spread, sum_axes
from tests.examples import examples_for


@examples_for(sum_axes)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    made = [
        {"x": x, "axes": a, "keepdims": k, "factor": f}
        for a in ((0,), (1, 3), (0, 1, 2, 3))
        for k, f in ((True, 1.0), (False, 0.5))
    ]
    # Large enough for the parts of the CPU path: everything, leading, trailing and mixed axes, and an axis of 1.
    large = rng.random((30, 50, 1, 40)).astype(np.float32)
    every: tuple[Any, ...] = ((0,), (0, 1), (3,), (1, 2, 3), (0, 3), (1,), (2,), (0, 1, 2, 3))
    made += [{"x": large, "axes": a, "keepdims": False, "factor": 1.0} for a in every]
    made += [{"x": large.astype(np.float64), "axes": (0, 1), "keepdims": True, "factor": 0.1}]

    def case(shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any = np.float32) -> dict[str, Any]:
        return {"x": rng.random(shape).astype(dtype), "axes": axes, "keepdims": False, "factor": 1.0}

    made += [case((0, 3), (0,)), case((3, 0), (0,)), case((3, 0), (1,)), case((1, 1), (0, 1)), case((4, 1), (1,))]
    # Rows and columns at the edges of the kernels' blocks and slices.
    made += [case((3, n), (1,)) for n in (1, 2, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 8191, 9001)]
    made += [case((n, 3), (0,)) for n in (1, 2, 31, 33, 255, 256, 257, 3001)]
    made += [case((65, n), (0,)) for n in (4, 31, 127, 128, 129, 132)]
    made += [case((2, 900, 8), (1,)), case((3, 5, 7, 2), (1, 3)), case((9, 40, 8), (0, 2)), case((40, 6), (0,), float)]
    made += [
        {"x": np.arange(n, dtype=t), "axes": (0,), "keepdims": False, "factor": 1.0}
        for n, t in ((6, np.int32), (7, np.int64), (200, np.uint8))
    ]
    return [*made, {"x": rng.random((5, 300)) > 0.5, "axes": (1,), "keepdims": True, "factor": 1.0}]


@examples_for(spread)
def _spread_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes: tuple[Any, ...] = (((2, 1, 4), (2, 3, 4)), ((2, 4, 1, 3), (2, 4, 5, 3)), ((1, 1), (3, 5)), ((), (4,)))
    made = [
        {"dy": np.asarray(rng.standard_normal(s), np.float32), "shape": to, "factor": f}
        for s, to in shapes
        for f in (0.5, 1.0)
    ]
    return [*made, {"dy": rng.standard_normal((1, 3)), "shape": (0, 3), "factor": 1.0}]
