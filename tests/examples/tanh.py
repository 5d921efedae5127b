"""Example inputs of the primitives of ``gpunn/ops/tanh.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.tanh import tanh_backward, tanh_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs


@examples_for(tanh_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x} for x in inputs(rng)]


@examples_for(tanh_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": gradients(rng, x), "y": np.asarray(np.tanh(x))} for x in inputs(rng)]
