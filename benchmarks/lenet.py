"""The lecture LeNet's training step for the device report: gpunn and PyTorch from the same weights and batches.

The network, its twin in PyTorch and its counts are those of ``gpunn.bench.networks``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.bench import networks

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
    return networks.lenet().step_flop(size)


def initial_weights() -> dict[str, np.ndarray]:
    """A freshly initialised LeNet5's state_dict, as NumPy arrays that nobody else holds."""
    return networks.initial_weights(networks.lenet())


def gpunn_step(weights: dict[str, np.ndarray], device: Any) -> tuple[Any, Callable[..., Any]]:
    """(model, step): ``step(images, labels)`` takes tensors on the device and returns the loss tensor."""
    import gpunn

    net = networks.gpunn_network(networks.lenet(), device)
    net.load_state_dict({name: gpunn.tensor(value) for name, value in weights.items()})
    return net, networks.gpunn_step(net, LR, MOMENTUM)


def gpunn_batch(batch: Batch, device: Any) -> tuple[Any, Any]:
    """The batch as gpunn tensors on the device."""
    import gpunn

    return gpunn.tensor(batch[0], device=device), gpunn.tensor(batch[1], device=device)


def torch_step(
    weights: dict[str, np.ndarray], device: str = "cpu", channels_last: bool = False, fused: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """The same in PyTorch."""
    torch = importlib.import_module("torch")
    net = networks.torch_network(networks.lenet(), torch, device, channels_last)
    net.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    return net, networks.torch_step(torch, net, LR, MOMENTUM, fused)


def torch_batch(batch: Batch, device: str = "cpu", channels_last: bool = False) -> tuple[Any, Any]:
    """The batch as PyTorch tensors on the device."""
    torch = importlib.import_module("torch")
    images, labels = (torch.from_numpy(array).to(device) for array in batch)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images, labels
