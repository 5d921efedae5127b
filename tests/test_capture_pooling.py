"""Captured steps with pooling, norms, resampling, dropout of channels equal eager ones to the bit over replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim

F = nn.functional
Layer = Callable[[gpunn.Tensor], gpunn.Tensor]


def _as_sequence(x: gpunn.Tensor) -> gpunn.Tensor:
    return x.reshape(x.shape[0], x.shape[1], -1)


def _as_volumes(x: gpunn.Tensor) -> gpunn.Tensor:
    return x.reshape(x.shape[0], 2, 2, *x.shape[2:])


LAYERS: dict[str, Layer] = {
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d over the image": lambda x: F.avg_pool2d(x, 8),
    "avg_pool1d": lambda x: F.avg_pool1d(_as_sequence(x), 5, 3),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 3),
    "global average": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(_as_sequence(x), 7),
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2),
    "max_pool2d, more elements than a byte names": lambda x: F.max_pool2d(F.pad(x, (5, 5, 5, 5)), 17),
    "max_pool2d behind a relu, likewise": lambda x: F.max_pool2d(F.pad(x, (4, 4, 4, 4)), 16, activation="relu"),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "layer_norm over columns": lambda x: F.layer_norm(x, 8),
    "layer_norm over images": lambda x: F.layer_norm(x, (4, 8, 8)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "group_norm of sequences": lambda x: F.group_norm(_as_sequence(x), 2),
    "interpolate to neighbours": lambda x: F.interpolate(x, scale_factor=2),
    "interpolate between neighbours": lambda x: F.interpolate(x, (5, 11), mode="bilinear"),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, x[:1, :, :3, :3].transpose(0, 1), None, 2, 1, 1),
    "dropout2d": lambda x: F.dropout2d(x, 0.5),
    "interpolate with a filter": lambda x: F.interpolate(x, (3, 5), mode="bicubic", antialias=True),
    "conv3d": lambda x: F.conv3d(_as_volumes(x), x[:1, :, :3, :3].reshape(2, 2, 1, 3, 3), None, 1, 1),
    "conv3d of slices together": lambda x: F.conv3d(_as_volumes(x), x[:1, :2].reshape(2, 2, 2, 4, 4), None, 2, 1),
    "conv_transpose3d": lambda x: F.conv_transpose3d(_as_volumes(x), x[:1, :2].reshape(2, 2, 2, 4, 4), None, 2, 1),
    "poolings of volumes": lambda x: F.max_pool3d(F.avg_pool3d(_as_volumes(x), (1, 2, 2)), 2, 1),
    "adaptive pooling of volumes": lambda x: F.adaptive_avg_pool3d(_as_volumes(x), (1, 3, 3)),
    "batch norm of volumes": lambda x: F.batch_norm(_as_volumes(x), None, None, training=True, activation="relu"),
    "instance norm of volumes": lambda x: F.instance_norm(_as_volumes(x)),
    "unfold": lambda x: F.unfold(x, 3, 1, 1, 2),
    "fold": lambda x: F.fold(F.unfold(x, 3, 1, 1, 2), 8, 3, 1, 1, 2),
    "windows along an axis": lambda x: x.unfold(2, 3, 2),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, 3, 2),
    "adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(_as_sequence(x), 7),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, True),
    "shrinking activations": lambda x: F.softshrink(F.hardshrink(F.threshold(x, -1.0, -1.0), 0.1), 0.05),
    "bilinear": lambda x: F.bilinear(x, x, x[:1, 0]),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
}


class Net(nn.Module):
    """A convolution before the layer, so that its gradient is needed, and a layer norm of features after it."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.layer = layer
        features = layer(gpunn.zeros(1, 4, 8, 8)).numel()
        self.norm = nn.LayerNorm(features)
        self.fc = nn.Linear(features, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        return self.fc(self.norm(self.layer(self.conv(x)).flatten(1)))


@pytest.mark.parametrize("name", LAYERS)
def test_captured_equals_eager_to_the_bit(kernels: str, name: str) -> None:
    rng = np.random.Generator(np.random.Philox(4))
    batches = [
        (
            gpunn.tensor(rng.standard_normal((5, 1, 8, 8)).astype(np.float32), device=kernels),
            gpunn.tensor(rng.integers(0, 3, 5), device=kernels),
        )
        for _ in range(4)
    ]
    runs = []
    for captured in (False, True):
        gpunn.manual_seed(1)
        net = Net(LAYERS[name]).to(kernels)
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(
            x: gpunn.Tensor, labels: gpunn.Tensor, net: Net = net, optimizer: optim.SGD = optimizer
        ) -> gpunn.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        call: Any = gpunn.capture(step) if captured else step
        losses = [call(x, labels).item() for x, labels in batches]
        runs.append((losses, {key: t.detach().numpy().tobytes() for key, t in net.state_dict().items()}))
        if captured:
            assert call.graphs == 1
    assert len(set(runs[0][0])) == len(batches)
    assert runs[0] == runs[1]
