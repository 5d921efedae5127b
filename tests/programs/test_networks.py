"""Networks in the manner of public collections give PyTorch's numbers with only their imports changed."""

from __future__ import annotations

import pytest

from tests.programs._both import assert_captured_equals_eager, assert_same

# Captured steps of the others are left out: those of depth take seconds on the emulator, and efficientnet draws.
_CAPTURED = ["vgg", "lenet", "alexnet", "mobilenetv2", "shufflenetv2", "densenet", "plain_vit", "nanogpt"]
_NETWORKS = [*_CAPTURED, "googlenet", "efficientnet", "resnet", "resnext", "senet", "squeezenet"]


@pytest.mark.parametrize("name", _NETWORKS)
def test_same_as_pytorch(name: str) -> None:
    assert_same(name)


@pytest.mark.parametrize("name", _CAPTURED)
def test_captured_step(name: str, kernels: str) -> None:
    assert_captured_equals_eager(name, kernels)
