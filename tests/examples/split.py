"""Example inputs of the primitives of ``gpunn/ops/split.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.split import put_parts
from gpunn.ops.take_slice import Key
from tests.examples import examples_for


@examples_for(put_parts)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    channels: list[Key] = [(slice(None), slice(0, 2)), (slice(None), slice(2, 3))]
    rows: list[Key] = [(0,), (1,)]
    made: list[dict[str, Any]] = [
        {"parts": [x[k] for k in channels], "shape": x.shape, "keys": channels, "dtype": np.float32},
        {"parts": [None, x[0, 0, 0]], "shape": (2, 5), "keys": rows, "dtype": np.float32},
    ]
    halves: list[Key] = [(slice(None), slice(0, 3)), (slice(None), slice(3, 6))]
    return [*made, {"parts": [None, np.zeros((0, 3))], "shape": (0, 6), "keys": halves, "dtype": np.float64}]
