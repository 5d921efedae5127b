"""Example inputs of the primitives of ``gpunn/ops/flip.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.flip import flip_axes
from tests.examples import examples_for


@examples_for(flip_axes)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    made = [{"x": x, "axes": a} for a in ((), (0,), (0, 2), (1,), (0, 1, 2))]
    return [*made, {"x": np.arange(3), "axes": (0,)}, {"x": np.zeros((0, 2)), "axes": (1,)}]
