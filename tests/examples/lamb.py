"""Example inputs of the primitives of ``gpunn/ops/lamb.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.lamb import lamb_step
from tests.examples import examples_for
from tests.examples.multi_tensor import error_words, example_arrays


@examples_for(lamb_step)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(sizes: Sequence[int], dtype: Any, decay: float, sign: float, failed: bool = False) -> dict[str, Any]:
        return {
            "params": example_arrays(rng, sizes, dtype),
            "grads": example_arrays(rng, sizes, dtype),
            "means": example_arrays(rng, sizes, dtype),
            "squares": example_arrays(rng, sizes, dtype, positive=True),
            "scalars": np.array([0.05, 0.8, 1e-1, 0.1, 0.99, 0.01, decay, sign], dtype),
            "error": error_words(failed),
        }

    zeros = case([6], np.float32, 0, 1)
    zeros["params"][0][:] = 0  # a norm of 0
    still = case([6, 9], np.float32, 0, 1)
    for name in ("grads", "means"):
        still[name][0][:] = 0  # a step of 0
    infinite = case([6], np.float32, 0, 1)
    infinite["params"][0][1] = np.inf  # without decay it has no share in u
    return [
        infinite,
        case([1, 5, 4097], np.float32, 0, 1),
        case([12288, 3], np.float32, 0.1, -1),
        case([0, 7], np.float32, 0, -1),
        case([3] * 200, np.float32, 0.1, 1),  # more than one table
        case([70_001], np.float32, 0.1, 1),  # more than one block of the CPU
        case([33, 4], np.float64, 0.1, -1),
        zeros,
        still,
        case([5], np.float32, 0, 1, failed=True),
    ]
