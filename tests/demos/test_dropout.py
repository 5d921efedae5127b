"""D6: dropout."""

from __future__ import annotations

import numpy as np

from gpunn import nn
from gpunn.demos import dropout


def test_D6_dropout_helps_where_a_net_knows_its_training_images_by_heart() -> None:
    result = dropout.run(sizes=(100,), depths=(2, 4), steps=150)
    assert (result.train[0] == 100).all()
    assert (result.test[0] < 80).all()
    assert np.mean(result.test[1] - result.test[0]) > 1


def test_the_topmost_layer_has_no_dropout() -> None:
    kinds = [type(layer) for layer in dropout.network(2, 0.3)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
