"""Example inputs of the primitives of ``gpunn/ops/silu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.silu import silu_backward, silu_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs


@examples_for(silu_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x} for x in inputs(rng)]


@examples_for(silu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": gradients(rng, x), "x": x} for x in inputs(rng)]
