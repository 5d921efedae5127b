"""Example inputs of the primitives of ``gpunn/ops/adaptive_avg_pool2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d_backward, adaptive_avg_pool2d_forward
from tests.examples import examples_for


@examples_for(adaptive_avg_pool2d_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    cases: tuple[tuple[Any, ...], ...] = (
        ((2, 7, 7, 4), (1, 1), np.float32),
        ((3, 8, 6, 3), (4, 2), np.float32),
        ((2, 7, 5, 3), (3, 4), np.float32),
        ((1, 3, 2, 5), (5, 2), np.float32),
        ((1, 1, 1, 1), (1, 1), np.float32),
        ((0, 4, 4, 2), (2, 2), np.float32),
        ((6, 9, 1, 1), (4, 1), np.float32),
        ((2, 5, 6, 8), (2, 4), np.float64),
        # Windows that a block shares: a tile of channels less one, whole, and more; of unequal size; sequences.
        ((2, 7, 7, 31), (1, 1), np.float32),
        ((1, 7, 7, 128), (1, 1), np.float32),
        ((3, 13, 20, 132), (2, 3), np.float32),
        ((4, 1000, 1, 1), (3, 1), np.float32),
        ((0, 7, 7, 4), (1, 1), np.float32),
        ((1, 9, 7, 12), (1, 1), np.float64),
    )
    return [{"x": (rng.standard_normal(s) + 1).astype(dtype), "size": size} for s, size, dtype in cases]


@examples_for(adaptive_avg_pool2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in _examples(rng):
        (n, h, w, c), size = example["x"].shape, example["size"]
        dy = rng.standard_normal((n, *size, c)).astype(example["x"].dtype)
        made.append({"dy": dy, "height": h, "width": w})
    return made
