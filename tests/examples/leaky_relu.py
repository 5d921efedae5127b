"""Example inputs of the primitives of ``gpunn/ops/leaky_relu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.leaky_relu import leaky_relu_backward, leaky_relu_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs

_SLOPES = (0.01, 0.1, 0.0, -0.5, 2.0)


@examples_for(leaky_relu_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x, "slope": _SLOPES[i % len(_SLOPES)]} for i, x in enumerate((*inputs(rng), *inputs(rng)))]


@examples_for(leaky_relu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": gradients(rng, e["x"]), "signs": e["x"], "slope": e["slope"]} for e in _examples(rng)]
