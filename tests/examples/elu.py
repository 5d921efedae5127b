"""Example inputs of the primitives of ``gpunn/ops/elu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.elu import elu_backward, elu_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs

_ALPHAS = (1.0, 0.5, 2.0, 0.0)


@examples_for(elu_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x, "alpha": _ALPHAS[i % len(_ALPHAS)]} for i, x in enumerate((*inputs(rng), *inputs(rng)))]


@examples_for(elu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for e in _examples(rng):
        y = np.asarray(elu_forward.plain(np, **e))
        made.append({"dy": gradients(rng, y), "y": y, "alpha": e["alpha"]})
    return made
