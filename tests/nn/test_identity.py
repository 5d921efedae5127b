"""Identity takes the place of any layer."""

from __future__ import annotations

import gpunn
from gpunn import nn


def test_gives_its_input_back() -> None:
    layer = nn.Identity(54, unused_argument1=0.1, unused_argument2=False)
    x = gpunn.ones(2, 3)
    assert layer(x) is x
    assert repr(layer) == "Identity()"
    assert layer.state_dict() == {}
    assert list(layer.parameters()) == []
