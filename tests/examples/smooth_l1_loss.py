"""Example inputs of the primitives of ``gpunn/ops/smooth_l1_loss.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.smooth_l1_loss import smooth_l1_loss_backward, smooth_l1_loss_forward
from tests.examples import examples_for
from tests.examples.losses import pair_examples, with_gradient


@examples_for(smooth_l1_loss_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    forms = ((1.0, 1.0), (0.5, 1.0), (0.7, 0.7), (0.0, 1.0))
    return [
        {**example, "edge": forms[number % 4][0], "slope": forms[number % 4][1]}
        for number, example in enumerate(pair_examples(rng))
    ]


examples_for(smooth_l1_loss_backward)(lambda rng: with_gradient(rng, _examples(rng)))
