"""Example inputs of the primitives of ``gpunn/ops/absolute_relu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.absolute_relu import absolute_relu_backward, absolute_relu_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs


@examples_for(absolute_relu_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x} for x in inputs(rng)]


@examples_for(absolute_relu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": gradients(rng, x), "x": x} for x in inputs(rng)]
