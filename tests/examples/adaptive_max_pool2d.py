"""Example inputs of the primitives of ``gpunn/ops/adaptive_max_pool2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d_backward, adaptive_max_pool2d_forward
from tests.examples import examples_for


@examples_for(adaptive_max_pool2d_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    cases: tuple[tuple[Any, ...], ...] = (
        ((2, 7, 5, 3), (3, 4), np.float32),
        ((1, 3, 2, 5), (5, 1), np.float32),
        ((1, 1, 1, 1), (1, 1), np.float32),
        ((0, 4, 4, 2), (2, 3), np.float32),
        ((2, 20, 20, 1), (1, 1), np.float32),
        ((2, 5, 6, 8), (2, 4), np.float64),
        ((3, 13, 11, 5), (5, 7), np.float32),  # several blocks
        # Windows that a block shares: a tile of channels less one, whole, and more; of unequal size.
        ((1, 9, 9, 31), (1, 1), np.float32),
        ((1, 9, 9, 128), (1, 1), np.float32),
        ((2, 13, 20, 132), (2, 3), np.float32),
        ((0, 9, 9, 4), (1, 1), np.float32),
        ((1, 9, 7, 12), (1, 1), np.float64),
    )
    made = [{"x": rng.integers(-4, 5, s).astype(dtype), "size": size} for s, size, dtype in cases]
    for example in (made[0], made[9]):
        example["x"][0, 0] = np.nan
        example["x"][1] = -np.inf
    return made


@examples_for(adaptive_max_pool2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in _examples(rng):
        y, index = adaptive_max_pool2d_forward.plain(np, **example)
        _, height, width, _ = example["x"].shape
        dy = rng.standard_normal(y.shape).astype(y.dtype)
        made.append({"dy": dy, "index": index, "height": height, "width": width})
    return made
