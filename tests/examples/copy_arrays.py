"""Example inputs of the primitives of ``gpunn/ops/copy_arrays.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.copy_arrays import copy_arrays
from tests.examples import examples_for


@examples_for(copy_arrays)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def pair(shapes: Sequence[tuple[int, ...]], dtypes: list[Any]) -> dict[str, Any]:
        sources = [rng.integers(0, 100, shape).astype(dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
        return {"targets": [np.zeros_like(s) for s in sources], "sources": sources}

    nine: list[tuple[int, ...]] = [(5 + k,) for k in range(9)]  # one more than a launch takes
    return [
        pair([(3, 5, 5, 2), (4,)], [np.float32, np.int64]),
        pair(
            [(1025, 4), (0,), (7,), ()], [np.float32, np.float64, np.uint8, np.bool_]
        ),  # a block and one thread; a tail
        pair(nine, [np.int32] * 9),
    ]
