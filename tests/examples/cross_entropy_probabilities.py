"""Example inputs of the primitives of ``gpunn/ops/cross_entropy_probabilities.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.cross_entropy_probabilities import cross_entropy_of_probabilities
from tests.examples import examples_for


@examples_for(cross_entropy_of_probabilities)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any, weighted: bool, smoothing: float, divisor: float | None) -> dict[str, Any]:
        target = rng.random((n, c))
        return {
            "logits": (3 * rng.standard_normal((n, c))).astype(dtype),
            "target": (target / target.sum(axis=1, keepdims=True)).astype(dtype),
            "weight": rng.random(c).astype(dtype) if weighted else None,
            "smoothing": smoothing,
            "divisor": divisor,
            "needs": ((True, False), (False, True), (True, True))[n % 3],
        }

    high = case(6, 8, np.float32, True, 0.1, 6.0)
    high["logits"][np.arange(6), np.arange(1, 7)] = 300  # whose exponential is infinite: the largest must be taken away
    return [
        high,
        case(5, 10, np.float32, False, 0.0, None),
        case(4, 10, np.float32, True, 0.1, 4.0),
        case(3, 1, np.float32, False, 0.3, 1.0),
        *(case(0, 7, np.float32, False, 0.0, divisor) for divisor in (0.0, 1.0, None)),
        case(19, 5, np.float32, True, 0.1, 19.0),
        case(7, 3, np.float64, True, 0.2, 7.0),
        case(6, 5, np.float64, True, 0.0, None),
        # By a warp, by a block, in chunks; with vectors and without.
        case(10, 512, np.float32, True, 0.1, 10.0),
        case(2, 516, np.float32, False, 0.0, 2.0),
        case(2, 257, np.float32, True, 0.2, None),
        case(2, 8196, np.float32, True, 0.1, 2.0),
        case(1, 4097, np.float32, False, 0.0, 1.0),
        case(300, 3, np.float32, False, 0.0, 300.0),
    ]
