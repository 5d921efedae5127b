"""Example inputs of the primitives of ``gpunn/ops/step.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.step import step_forward
from tests.examples import examples_for
from tests.examples.activations import inputs


@examples_for(step_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x, "strict": strict} for strict in (False, True) for x in inputs(rng)]
