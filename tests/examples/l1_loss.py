"""Example inputs of the primitives of ``gpunn/ops/l1_loss.py``."""

from __future__ import annotations

from gpunn.ops.l1_loss import l1_loss_backward, l1_loss_forward
from tests.examples import examples_for
from tests.examples.losses import pair_examples, with_gradient

examples_for(l1_loss_forward)(pair_examples)


examples_for(l1_loss_backward)(lambda rng: with_gradient(rng, pair_examples(rng)))
