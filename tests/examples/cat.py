"""Example inputs of the primitives of ``gpunn/ops/cat.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.cat import cut, join
from tests.examples import examples_for


@examples_for(join)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(axis: int, dtype: Any, *shapes: tuple[int, ...]) -> dict[str, Any]:
        return {"arrays": [rng.standard_normal(s).astype(dtype) for s in shapes], "axis": axis}

    return [
        case(3, np.float32, (2, 3, 4, 5), (2, 3, 4, 1), (2, 3, 4, 7)),
        case(0, np.float32, (2, 3), (0, 3), (4, 3)),
        case(1, np.float64, (5, 1), (5, 1)),
        case(1, np.float32, (0, 2), (0, 3)),
        case(0, np.int64, (3,)),
        case(3, np.float32, (2, 2, 3, 8), (2, 2, 3, 4), (2, 2, 3, 12)),
        case(1, np.float32, *(((3, 1), (3, 2)) * 40)),  # more than one launch takes
        case(1, bool, (2, 3, 2), (2, 4, 2)),
    ]


@examples_for(cut)
def _cut_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, case in enumerate(_examples(rng)):
        arrays, axis = case["arrays"], case["axis"]
        parts = [None if i % 3 == 2 and number % 2 else np.zeros_like(a) for i, a in enumerate(arrays)]
        whole = join.plain(np, arrays, axis)
        made.append({"parts": parts, "lengths": [a.shape[axis] for a in arrays], "whole": whole, "axis": axis})
    return made
