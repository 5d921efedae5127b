"""Example inputs of the primitives of ``gpunn/ops/rmsprop.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.ops.rmsprop import rmsprop_step
from tests.examples import examples_for
from tests.examples.multi_tensor import error_words, example_arrays


@examples_for(rmsprop_step)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(
        sizes: Sequence[int],
        dtype: Any,
        centered: bool,
        momentum: bool,
        decay: float,
        sign: float,
        failed: bool = False,
    ) -> dict[str, Any]:
        none, squares = [None] * len(sizes), example_arrays(rng, sizes, dtype, positive=True)
        means = [(np.sqrt(v) * dtype(0.5)).astype(dtype) for v in squares]  # below the root, as averages of d are
        return {
            "params": example_arrays(rng, sizes, dtype),
            "grads": example_arrays(rng, sizes, dtype),
            "squares": squares,
            "means": means if centered else none,
            "momenta": example_arrays(rng, sizes, dtype) if momentum else none,
            "scalars": np.array([0.05, 0.9, 0.1, 1e-1, decay, 0.8, sign], dtype),
            "error": error_words(failed),
        }

    infinite = case([6], np.float32, False, False, 0, 1)
    infinite["params"][0][1] = np.inf  # without decay it has no share in d
    return [
        infinite,
        case([1, 5, 4097], np.float32, False, False, 0, 1),
        case([8192, 3], np.float32, True, False, 0.1, -1),
        case([0, 7], np.float32, False, True, 0.1, 1),
        case([3] * 150, np.float32, True, True, 0, -1),  # more than one table
        case([33, 4], np.float64, True, True, 0.1, 1),
        case([5], np.float32, False, True, 0, 1, failed=True),
    ]
