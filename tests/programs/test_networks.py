"""Networks in the manner of public collections give PyTorch's numbers with only their imports changed."""

from __future__ import annotations

import pytest

from tests.programs._both import assert_captured_equals_eager, assert_same

_CAPTURED = ["vgg", "mobilenetv2", "shufflenetv2", "plain_vit", "nanogpt", "convnext"]
# Others draw on the host (efficientnet, preact_resnet), update averages in a recomputation that a captured step does
# without (densenet), or are deep, so that three steps take seconds on the emulator.
_NETWORKS = [
    *_CAPTURED,
    "alexnet",
    "densenet",
    "dpn",
    "efficientnet",
    "googlenet",
    "inceptionv3",
    "lenet",
    "mobilenetv3",
    "preact_resnet",
    "regnet",
    "resnet",
    "resnext",
    "senet",
    "squeezenet",
]


@pytest.mark.parametrize("name", _NETWORKS)
def test_same_as_pytorch(name: str) -> None:
    assert_same(name)


@pytest.mark.parametrize("name", _CAPTURED)
def test_captured_step(name: str, kernels: str) -> None:
    assert_captured_equals_eager(name, kernels)
