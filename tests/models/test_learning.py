"""Networks for CIFAR-10 learn: which quarter of noisy images is bright. A broken gradient would prevent it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gpunn
from gpunn import models, nn, optim
from gpunn.models.vit import VisionTransformer

IMAGES, CLASSES = 12, 4
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: models.build("resnet20", (3, 32, 32), CLASSES),
    "resnet9": lambda: models.ResNet9(3, CLASSES, width=8),
    "cifar-speed": lambda: models.CifarSpeedNet(3, CLASSES, (16, 32, 32)),
    "alexnet-cifar": lambda: models.build("alexnet-cifar", (3, 32, 32), CLASSES),
    # vit-small, narrower and not as deep
    "vit": lambda: VisionTransformer(32, 8, 2, 2, 64, 128, num_classes=CLASSES),
}


@pytest.mark.parametrize(
    ("name", "steps"), [("resnet20", 12), ("resnet9", 12), ("cifar-speed", 40), ("alexnet-cifar", 12), ("vit", 30)]
)
def test_learns_which_quarter_is_bright(name: str, steps: int) -> None:
    gpunn.manual_seed(1)
    model = NETWORKS[name]()
    rng = np.random.Generator(np.random.Philox(2))
    labels = np.arange(IMAGES) % CLASSES
    images = rng.standard_normal((IMAGES, 3, 32, 32), np.float32)
    for image, label in zip(images, labels, strict=True):
        top, left = 16 * (label // 2), 16 * (label % 2)
        image[:, top : top + 16, left : left + 16] += 2
    x, y = gpunn.tensor(images), gpunn.tensor(labels)
    optimizer, criterion = optim.Adam(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7  # log(4) = 1.39 for a network that has learned nothing
