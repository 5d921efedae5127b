"""The training steps that the report is about, for gpunn and PyTorch, from the same weights and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.bench import networks
from gpunn.bench.networks import Network

LR, MOMENTUM = 0.01, 0.9
Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Step:
    """One network at one batch size."""

    network: Network
    batch: int

    @property
    def line(self) -> str:
        """Its name among the benchmark's cases, by which targets are found."""
        return f"{self.network.key}-b{self.batch}.step"

    @property
    def title(self) -> str:
        return f"{self.network.title}, batch {self.batch}"

    def batches(self, count: int) -> list[Batch]:
        """As :func:`batches`, of its shape."""
        return batches(self.batch, count, self.network.input_shape, self.network.classes)


_LENET = networks.lenet()
# Those with a target first.
STEPS = (
    Step(_LENET, 128),
    Step(networks.resnet_cifar(), 128),
    Step(_LENET, 32),
    Step(_LENET, 512),
    Step(networks.mlp(), 128),
)


def batches(size: int, count: int, shape: tuple[int, int, int], classes: int = 10, seed: int = 0) -> list[Batch]:
    """``count`` batches of noise with a pattern for each class in it: learnable, so that losses move."""
    rng = np.random.Generator(np.random.Philox(seed))
    patterns = rng.standard_normal((classes, *shape))
    made = []
    for _ in range(count):
        labels = rng.integers(0, classes, size)
        images = 0.5 * patterns[labels] + rng.standard_normal((size, *shape))
        made.append((images.astype(np.float32), labels.astype(np.int64)))
    return made


def gpunn_step(step: Step, device: Any) -> Callable[[Any, Any], Any]:
    """``f(images, labels)`` takes tensors on the device, trains once and returns the loss tensor."""
    return networks.gpunn_step(networks.gpunn_network(step.network, device), LR, MOMENTUM)


def gpunn_batch(batch: Batch, device: Any) -> tuple[Any, Any]:
    """The batch as gpunn tensors on the device."""
    import gpunn

    return gpunn.tensor(batch[0], device=device), gpunn.tensor(batch[1], device=device)


def torch_step(
    torch: Any, step: Step, device: str, channels_last: bool, compiled: dict[str, Any] | None = None
) -> Callable[[Any, Any], Any]:
    """The same in PyTorch; with options for ``torch.compile`` its forward and backward pass are compiled."""
    net = networks.torch_network(step.network, torch, device, channels_last)
    if compiled is None:
        return networks.torch_step(torch, net, LR, MOMENTUM, fused=device != "cpu")
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, fused=device != "cpu" or None)
    forward = torch.compile(lambda x, labels: criterion(net(x), labels), **compiled)

    def run(x: Any, labels: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def torch_batch(torch: Any, batch: Batch, device: str, channels_last: bool) -> tuple[Any, Any]:
    """The batch as PyTorch tensors on the device."""
    images, labels = (torch.from_numpy(array).to(device) for array in batch)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images, labels
