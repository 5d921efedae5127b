"""Example inputs of the primitives of ``gpunn/ops/softplus.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.softplus import softplus_backward, softplus_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs

_SETTINGS = ((1.0, 20.0), (2.0, 3.0), (0.3, 20.0), (1.0, -1.0), (-1.0, 2.0))


@examples_for(softplus_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for i, x in enumerate((*inputs(rng), *inputs(rng))):
        beta, threshold = _SETTINGS[i % len(_SETTINGS)]
        made.append({"x": x, "beta": beta, "threshold": threshold})
    # At the threshold itself it still bends.
    return [*made, {"x": np.array([1.5, 1.625, -1.5, 1.375], np.float32), "beta": 2.0, "threshold": 3.0}]


@examples_for(softplus_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": gradients(rng, e["x"]), **e} for e in _examples(rng)]
