"""D7: retraining the last layers."""

from __future__ import annotations

import numpy as np

from gpunn.demos import transfer
from gpunn.demos._digits import on_photographs


def test_D7_a_frozen_extractor_beats_training_from_scratch_at_100_images_a_class() -> None:
    result = transfer.run(counts=(100,), source=1200, steps=150)
    frozen, scratch, random = result.test[:, 0]
    assert frozen > scratch  # by 7 when it was written, by 3 with the next seed
    assert scratch > random


def test_turned_digits_are_classes_of_their_own_and_backgrounds_differ() -> None:
    x, labels = on_photographs(range(5, 10), 400, np.random.default_rng(0), turns=4)
    assert x.shape == (400, 1, 14, 14)
    assert x.dtype == np.float32
    assert set(labels) == set(range(20))
    assert len(np.unique(x.reshape(400, -1), axis=0)) == 400
    every, _ = on_photographs(range(2), None, np.random.default_rng(0), train=False)
    assert 50 < len(every) < 100  # each of the test part's once
