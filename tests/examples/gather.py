"""Example inputs of the primitives of ``gpunn/ops/gather.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.gather import gather_along, gather_along_backward
from tests.examples import examples_for


def _along_cases(rng: np.random.Generator) -> list[tuple[tuple[int, ...], Any, int]]:
    """(shape of x, index, axis)"""

    def case(shape: tuple[int, ...], axis: int, *index: int) -> tuple[tuple[int, ...], Any, int]:
        return shape, rng.integers(0, max(shape[axis], 1), index), axis

    return [
        case((5, 7), 1, 5, 1),
        case((5, 7), 1, 3, 40),
        case((5, 7), 0, 9, 6),
        case((2, 3, 4, 8), 1, 2, 5, 4, 8),
        case((2, 3, 4, 8), 3, 1, 3, 2, 3),
        case((2, 3, 1, 4, 2), 1, 2, 2, 1, 3, 2),
        case((6,), 0, 300),
        case((0, 3), 1, 0, 2),
        case((2, 3), 1, 2, 0),
        case((1, 1), 0, 1, 1),
    ]


@examples_for(gather_along)
def _along_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"x": rng.standard_normal(s).astype(np.float32), "index": i, "axis": a} for s, i, a in _along_cases(rng)
    ]
    return [*made, {"x": rng.random((3, 4)) > 0.5, "index": made[0]["index"][:3] % 4, "axis": 1}]


@examples_for(gather_along_backward)
def _along_backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    types = (np.float32, np.float64)
    return [
        {"dy": rng.standard_normal(i.shape).astype(types[k % 2]), "index": i, "shape": s, "axis": a}
        for k, (s, i, a) in enumerate(_along_cases(rng))
    ]
