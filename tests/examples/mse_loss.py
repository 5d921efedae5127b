"""Example inputs of the primitives of ``gpunn/ops/mse_loss.py``."""

from __future__ import annotations

from gpunn.ops.mse_loss import mse_loss_backward, mse_loss_forward
from tests.examples import examples_for
from tests.examples.losses import pair_examples, with_gradient

examples_for(mse_loss_forward)(pair_examples)


examples_for(mse_loss_backward)(lambda rng: with_gradient(rng, pair_examples(rng)))
