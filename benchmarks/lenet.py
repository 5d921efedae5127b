"""The lecture LeNet's training step in gpunn and in PyTorch, from the same weights and batches.

Both sides do the same arithmetic: forward, mean cross-entropy, backward, SGD with momentum. PyTorch is
imported only by what needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LR, MOMENTUM = 0.05, 0.9
Batch = tuple[np.ndarray, np.ndarray]


def batches(size: int, count: int, image: int = 28, seed: int = 0) -> list[Batch]:
    """``count`` batches of noise with a pattern for each class in it: learnable, so that losses move."""
    rng = np.random.Generator(np.random.Philox(seed))
    patterns = rng.standard_normal((10, 1, image, image))
    made = []
    for _ in range(count):
        labels = rng.integers(0, 10, size)
        images = 0.5 * patterns[labels] + rng.standard_normal((size, 1, image, image))
        made.append((images.astype(np.float32), labels.astype(np.int64)))
    return made


def step_flop(size: int) -> float:
    """Multiplications and additions of a step's matrix products; the first layer has no input gradient."""
    conv1 = 2 * 28 * 28 * 20 * 25
    conv2 = 2 * 14 * 14 * 50 * 500
    linear = 2 * (2450 * 500 + 500 * 10)
    return float(size * (2 * conv1 + 3 * (conv2 + linear)))


def initial_weights(seed: int = 0, **model: Any) -> dict[str, np.ndarray]:
    """A freshly initialised LeNet5's state_dict, as NumPy arrays that nobody else holds."""
    import gpunn
    from gpunn.models import LeNet5

    gpunn.manual_seed(seed)
    return {name: np.array(value.numpy()) for name, value in LeNet5(**model).state_dict().items()}


def gpunn_step(weights: dict[str, np.ndarray], device: Any, **model: Any) -> tuple[Any, Callable[..., Any]]:
    """(model, step): ``step(images, labels)`` takes tensors on the device and returns the loss tensor."""
    import gpunn
    from gpunn.models import LeNet5
    from gpunn.nn.loss import CrossEntropyLoss
    from gpunn.optim import SGD

    net = LeNet5(**model)
    net.load_state_dict({name: gpunn.tensor(value) for name, value in weights.items()})
    net = net.to(device)
    net.train()
    criterion = CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=LR, momentum=MOMENTUM)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return net, step


def gpunn_batch(batch: Batch, device: Any) -> tuple[Any, Any]:
    """The batch as gpunn tensors on the device."""
    import gpunn

    return gpunn.tensor(batch[0], device=device), gpunn.tensor(batch[1], device=device)


def torch_step(
    weights: dict[str, np.ndarray], device: str = "cpu", channels_last: bool = False, fused: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """The same in PyTorch, for LeNet5 with its default sizes."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 20, 5, padding=2)
            self.conv2 = nn.Conv2d(20, 50, 5, padding=2)
            self.fc1 = nn.Linear(2450, 500)
            self.fc2 = nn.Linear(500, 10)

        def forward(self, x: Any) -> Any:
            x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2, 2)
            x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2, 2)
            return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))

    net = Net()
    net.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    net = net.to(device)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, fused=True if fused else None)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return net, step


def torch_batch(batch: Batch, device: str = "cpu", channels_last: bool = False) -> tuple[Any, Any]:
    """The batch as PyTorch tensors on the device."""
    import torch

    images, labels = (torch.from_numpy(array).to(device) for array in batch)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images, labels
