"""Example inputs of the primitives of ``gpunn/ops/gelu.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.gelu import gelu_backward, gelu_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs


@examples_for(gelu_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": x, "by_tanh": by_tanh} for by_tanh in (False, True) for x in inputs(rng)]


@examples_for(gelu_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"dy": gradients(rng, e["x"]), **e} for e in _examples(rng)]
    known = [{**e, "y": gelu_forward.plain(np, e["x"], e["by_tanh"])} for e in made]
    return made + known
