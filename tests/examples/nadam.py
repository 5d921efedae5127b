"""Example inputs of the primitives of ``gpunn/ops/nadam.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.nadam import nadam_step
from tests.examples import examples_for
from tests.examples.multi_tensor import error_words, example_arrays


@examples_for(nadam_step)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(sizes: Sequence[int], dtype: Any, rest: Sequence[float], failed: bool = False) -> dict[str, Any]:
        return {
            "params": example_arrays(rng, sizes, dtype),
            "grads": example_arrays(rng, sizes, dtype),
            "means": example_arrays(rng, sizes, dtype),
            "squares": example_arrays(rng, sizes, dtype, positive=True),
            "scalars": np.array([0.02, 0.05, 1e-3, 0.1, 0.99, 0.01, *rest], dtype),
            "error": error_words(failed),
        }

    plain, l2, decoupled = (0, 1, 1), (0.1, 1, -1), (0, 0.99, 1)
    infinite = case([6], np.float32, plain)
    infinite["params"][0][1] = np.inf  # without decay it has no share in d
    return [
        infinite,
        case([1, 5, 4097], np.float32, plain),
        case([8192, 3], np.float32, l2),
        case([0, 7], np.float32, decoupled),
        case([3] * 200, np.float32, l2),  # more than one table
        case([33, 4], np.float64, l2),
        case([5], np.float32, plain, failed=True),
    ]
