"""Example inputs of the primitives of ``gpunn/ops/sort.py`` and ``gpunn/ops/cumsum.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.cumsum import running_sum
from gpunn.ops.sort import sort_places
from tests.examples import examples_for

_SHAPES = [((7,), 0), ((3, 5), 1), ((3, 5), 0), ((2, 3, 4, 5), 2), ((0, 3), 1), ((3, 0), 1), ((1, 1), 0)]


@examples_for(sort_places)
def _sort_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"x": np.round(rng.standard_normal(shape), 1).astype(np.float32), "axis": axis, "descending": turned}
        for shape, axis in _SHAPES
        for turned in (False, True)
    ]
    # Longer than a block's chunk, with a last run that has no partner; what is equal, and what has no order.
    odd = np.array([[0.0, np.nan, -0.0, np.inf, -np.inf, -np.nan, 1.0]] * 2)
    made += [{"x": rng.integers(0, 50, (2, 2500)).astype(np.int32), "axis": 1, "descending": False}]
    made += [{"x": rng.standard_normal(1300), "axis": 0, "descending": True}]
    made += [{"x": odd, "axis": 1, "descending": turned} for turned in (False, True)]
    made += [{"x": rng.integers(0, 2, (5, 3)).astype(bool), "axis": 0, "descending": False}]
    return [*made, {"x": rng.integers(0, 3, (4, 6)), "axis": 1, "descending": True}]


@examples_for(running_sum)
def _sum_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [
        {"x": rng.standard_normal(shape), "axis": axis, "backwards": turned}
        for shape, axis in _SHAPES
        for turned in (False, True)
    ]
    # As long as a block's chunk, longer, and of more chunks than a block has threads.
    made += [{"x": rng.standard_normal((2, n)), "axis": 1, "backwards": n % 2 == 0} for n in (1024, 1025, 5000)]
    made += [{"x": rng.integers(0, 9, (1, 300_000)).astype(np.int32), "axis": 1, "backwards": False}]
    made += [
        {"x": np.array([[1, np.inf, 2, np.nan, 3]], np.float32), "axis": 1, "backwards": turned} for turned in (0, 1)
    ]
    made += [{"x": rng.integers(0, 9, (3, 7)).astype(np.uint8), "axis": 1, "backwards": False}]
    return [*made, {"x": rng.integers(0, 9, (4, 6)), "axis": 1, "backwards": False}]
