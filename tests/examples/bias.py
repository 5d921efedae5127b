"""Example inputs of the primitives of ``gpunn/ops/bias.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.bias import bias_backward
from tests.examples import examples_for
from tests.examples.activations import rectified


@examples_for(bias_backward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(rows: int, columns: int, dtype: Any, y: bool, wants_bias: bool) -> dict[str, Any]:
        dy = rng.standard_normal((rows, columns)).astype(dtype)
        return {
            "dy": dy,
            "y": rectified(rng, dy.shape, dtype) if y else None,
            "wants_bias": wants_bias,
        }

    return [
        case(1, 1, np.float32, True, True),
        case(100, 20, np.float32, True, True),
        case(1300, 7, np.float32, False, True),
        case(40, 133, np.float32, True, True),
        case(64, 10, np.float32, True, False),
        case(0, 4, np.float32, True, True),
        case(9, 6, np.float64, True, True),
    ]
