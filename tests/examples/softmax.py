"""Example inputs of the primitives of ``gpunn/ops/softmax.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.softmax import _forward, softmax_backward, softmax_forward
from tests.examples import examples_for


@examples_for(softmax_forward)
def softmax_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Inputs for softmax and its logarithm: every position of the axis, special rows, blocks of both kinds."""
    shapes: tuple[tuple[tuple[int, ...], int], ...] = (
        *(((5, 10), 1), ((5, 10), 0), ((2, 3, 4), 1), ((2, 3, 5, 4), 3), ((2, 3, 5, 4), 0), ((4, 1), 1)),
        *(((1,), 0), ((0, 3), 1), ((0, 3), 0), ((3, 0), 1), ((9000, 5), 1), ((3, 70, 300), 1)),
        # By a warp, by a block, in chunks; with vectors and without; along columns, by one thread and by several.
        *(((9, 512), 1), ((2, 516), 1), ((3, 255), 1), ((2, 256), 1), ((2, 257), 1), ((1, 8196), 1), ((2, 4097), 1)),
        *(((8, 33), 0), ((9, 31), 0), ((3, 65, 2), 1), ((4099, 1, 3), 0)),
    )
    made = [{"x": (3 * rng.standard_normal(s)).astype(np.float32), "axis": a} for s, a in shapes]
    special = np.array([[1e4, -1e4, 0], [-np.inf, 0, 1], [-np.inf] * 3, [np.inf, 0, 1], [np.nan, 0, 1]], np.float32)
    return [*made, {"x": special, "axis": 1}, {"x": rng.standard_normal((7, 3)), "axis": 0}]


@examples_for(softmax_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in softmax_examples(rng):
        y = _forward(np, example["x"], example["axis"])
        made.append({"dy": rng.standard_normal(y.shape).astype(y.dtype), "y": y, "axis": example["axis"]})
    return made
