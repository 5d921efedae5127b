"""Example inputs of the primitives of ``gpunn/ops/hardtanh.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.hardtanh import hardtanh_backward, hardtanh_forward
from tests.examples import examples_for
from tests.examples.activations import gradients, inputs

_LIMITS = ((-1.0, 1.0), (0.0, 6.0), (0.3, 0.3))


@examples_for(hardtanh_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    drawn = (*inputs(rng), *inputs(rng))
    return [{"x": x, "low": _LIMITS[i % 3][0], "high": _LIMITS[i % 3][1]} for i, x in enumerate(drawn)]


@examples_for(hardtanh_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for e in _examples(rng):
        y = np.asarray(hardtanh_forward.plain(np, **e))
        made.append({"dy": gradients(rng, y), "y": y, "low": e["low"], "high": e["high"]})
    return made
