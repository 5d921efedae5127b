"""Example inputs of the primitives of ``gpunn/ops/sigmoid.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.sigmoid import sigmoid_backward, sigmoid_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs


@examples_for(sigmoid_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x} for x in inputs(rng)]


@examples_for(sigmoid_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": gradients(rng, x), "y": np.asarray(sigmoid_forward.plain(np, x))} for x in inputs(rng)]
