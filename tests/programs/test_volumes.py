"""Networks for films and volumes, and one that unpools: PyTorch's numbers with only their imports changed."""

from __future__ import annotations

import pytest

from tests.programs._both import assert_captured_equals_eager, assert_same

_NETWORKS = ["segnet", "unet3d", "video_resnet"]


@pytest.mark.parametrize("name", _NETWORKS)
def test_same_as_pytorch(name: str) -> None:
    assert_same(name)


@pytest.mark.parametrize("name", _NETWORKS)
def test_captured_step(name: str, kernels: str) -> None:
    assert_captured_equals_eager(name, kernels)
