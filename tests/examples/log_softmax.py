"""Example inputs of the primitives of ``gpunn/ops/log_softmax.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.log_softmax import _forward, log_softmax_backward, log_softmax_forward
from tests.examples import examples_for
from tests.examples.softmax import softmax_examples


@examples_for(log_softmax_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in softmax_examples(rng):
        y = _forward(np, example["x"], example["axis"])
        made.append({"dy": rng.standard_normal(y.shape).astype(y.dtype), "y": y, "axis": example["axis"]})
    return made


examples_for(log_softmax_forward)(softmax_examples)
