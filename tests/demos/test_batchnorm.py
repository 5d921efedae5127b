"""D6: batch normalisation."""

from __future__ import annotations

import numpy as np

from gpunn.demos import batchnorm


def test_D6_batch_norm_learns_faster_at_more_rates_from_more_weights_and_with_sigmoids() -> None:
    result = batchnorm.run(rates=(0.1, 1), gains=(0.1, 3), steps=60)
    without, with_it = np.mean(result.losses, axis=1)
    assert with_it < 0.8 * without
    without, with_it = np.array(result.sigmoid)[:, -10:].mean(1)
    assert without > 2.2  # -log 0.1 is 2.3: it has learned nothing
    assert with_it < 1.2
    for right in (np.array(result.by_rate)[:, 1:], np.array(result.by_gain)):
        assert (right[0] < 20).all()  # chance is 10 %
        assert (right[1] > 90).all()
