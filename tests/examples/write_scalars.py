"""Example inputs of the primitives of ``gpunn/ops/write_scalars.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.write_scalars import write_scalars
from tests.examples import examples_for


@examples_for(write_scalars)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"to": np.zeros(3, np.float32), "values": rng.standard_normal(3).astype(np.float32)},
        {"to": np.zeros(1, np.uint64), "values": np.array([2**40 + 5], np.uint64)},
        {"to": np.zeros(16, np.float64), "values": rng.standard_normal(16)},
    ]
