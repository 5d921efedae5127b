"""Example inputs of the primitives of ``gpunn/ops/sgd.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.sgd import sgd_step
from tests.examples import examples_for
from tests.examples.multi_tensor import error_words, example_arrays


@examples_for(sgd_step)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(sizes: Sequence[int], dtype: Any, momentum: bool, nesterov: bool, failed: bool = False) -> dict[str, Any]:
        return {
            "params": example_arrays(rng, sizes, dtype),
            "grads": example_arrays(rng, sizes, dtype),
            "momenta": example_arrays(rng, sizes, dtype) if momentum else [None] * len(sizes),
            "first": [i % 2 == 0 for i in range(len(sizes))],
            "scalars": np.array([0.1, 0.9, 0.8, 0.01, 1.0 if nesterov else -1.0], dtype),
            "error": error_words(failed),
            "nesterov": nesterov,
        }

    infinite = case([6], np.float32, True, False)
    infinite["params"][0][1], infinite["scalars"][3] = np.inf, 0  # without decay it has no share in d
    return [
        infinite,
        case([1, 5, 4097], np.float32, True, False),
        case([8192, 3], np.float32, True, True),
        case([100, 9], np.float32, False, False),
        case([6, 5], np.float32, False, True),
        case([0, 7], np.float32, True, False),
        case([3] * 200, np.float32, True, False),  # more than one table
        case([33, 4], np.float64, True, True),
        case([5], np.float32, True, False, failed=True),
    ]
