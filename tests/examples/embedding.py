"""Example inputs of the primitives of ``gpunn/ops/embedding.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.embedding import clear
from tests.examples import examples_for


@examples_for(clear)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"target": rng.standard_normal(n).astype(t)} for n, t in ((1, np.float32), (300, np.float64), (0, np.int8))]
