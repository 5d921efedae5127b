"""One item without a batch axis, where PyTorch takes it: values, gradients, fusion, capture, summary, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn import nn as typed_nn
from gpunn.errors import ShapeError
from tests.devices import EVERYWHERE

gpunn: Any = typed
nn: Any = typed_nn
F = nn.functional

IMAGE, SEQUENCE = (3, 6, 7), (3, 8)
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Conv1d": (lambda lib: lib.nn.Conv1d(3, 4, 3, 2, 1), SEQUENCE),
    "Conv1d, same": (lambda lib: lib.nn.Conv1d(3, 3, 4, padding="same", groups=3, dilation=2), SEQUENCE),
    "Conv1d, valid": (lambda lib: lib.nn.Conv1d(3, 2, 4, padding="valid"), SEQUENCE),
    "Conv1d, reflect": (lambda lib: lib.nn.Conv1d(3, 2, 3, 1, 2, padding_mode="reflect"), SEQUENCE),
    "Conv2d": (lambda lib: lib.nn.Conv2d(3, 4, 3, 2, 1), IMAGE),
    "Conv2d, same": (lambda lib: lib.nn.Conv2d(3, 2, (3, 1), padding="same", dilation=2), IMAGE),
    "Conv2d, replicate": (lambda lib: lib.nn.Conv2d(3, 2, 3, 1, (1, 2), padding_mode="replicate"), IMAGE),
    "Conv2d, circular": (lambda lib: lib.nn.Conv2d(3, 2, 3, padding="same", padding_mode="circular"), IMAGE),
    "ConvTranspose1d": (lambda lib: lib.nn.ConvTranspose1d(3, 4, 3, 2, 1, 1), SEQUENCE),
    "ConvTranspose2d": (lambda lib: lib.nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), IMAGE),
    "MaxPool1d": (lambda lib: lib.nn.MaxPool1d(3, 2, 1), SEQUENCE),
    "MaxPool2d": (lambda lib: lib.nn.MaxPool2d(3, 2, 1), IMAGE),
    "AvgPool1d": (lambda lib: lib.nn.AvgPool1d(3, 2, 1), SEQUENCE),
    "AvgPool2d": (lambda lib: lib.nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    "AdaptiveAvgPool1d": (lambda lib: lib.nn.AdaptiveAvgPool1d(3), SEQUENCE),
    "AdaptiveAvgPool2d": (lambda lib: lib.nn.AdaptiveAvgPool2d((4, 2)), IMAGE),
    "AdaptiveMaxPool1d": (lambda lib: lib.nn.AdaptiveMaxPool1d(3), SEQUENCE),
    "AdaptiveMaxPool2d": (lambda lib: lib.nn.AdaptiveMaxPool2d((4, 2)), IMAGE),
    "InstanceNorm1d": (lambda lib: lib.nn.InstanceNorm1d(3, affine=True), SEQUENCE),
    "InstanceNorm2d": (lambda lib: lib.nn.InstanceNorm2d(3, affine=True), IMAGE),
    "convolution and pooling": (
        lambda lib: lib.nn.Sequential(lib.nn.Conv2d(3, 4, 3), lib.nn.ReLU(), lib.nn.MaxPool2d(2)), IMAGE,
    ),
    "convolution, pooling, flattened": (
        lambda lib: lib.nn.Sequential(lib.nn.Conv2d(3, 4, 3), lib.nn.ReLU(), lib.nn.MaxPool2d(2), lib.nn.Flatten(1)),
        IMAGE,
    ),
    "pooling, flattened": (lambda lib: lib.nn.Sequential(lib.nn.MaxPool2d(2), lib.nn.Flatten(1)), IMAGE),
    "relu and pooling": (lambda lib: lib.nn.Sequential(lib.nn.ReLU(), lib.nn.MaxPool2d(2)), IMAGE),
}  # fmt: skip


def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.Generator(np.random.Philox(3)).standard_normal(shape)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", LAYERS)
def test_matches_torch(where: str, name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    make, shape = LAYERS[name]
    theirs = make(parity.torch).double()
    ours = make(gpunn).double()
    ours.load_state_dict({k: gpunn.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    ours.to(where)
    # Sums of some dozen numbers of order one in float64.
    parity.compare(ours, lambda x: theirs(x), {"x": _numbers(shape)}, where, 1e-13, least_scale=1)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        parity.close("parameter's gradient", mine.grad.numpy(), other.grad.numpy(), 1e-12, 1)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("max_pool1d", SEQUENCE),
        ("max_pool2d", IMAGE),
        ("adaptive_max_pool1d", SEQUENCE),
        ("adaptive_max_pool2d", IMAGE),
    ],
)
def test_indices_are_those_of_a_batch(name: str, shape: tuple[int, ...]) -> None:
    x = gpunn.tensor(_numbers(shape))
    y, index = getattr(F, name)(x, 2, return_indices=True)
    expected, places = getattr(F, name)(x.unsqueeze(0), 2, return_indices=True)
    assert (y.tolist(), index.tolist()) == (expected[0].tolist(), places[0].tolist())


def test_captured_equals_eager_to_the_bit(kernels: str) -> None:
    found = []
    for captured in (False, True):
        gpunn.manual_seed(1)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(0), nn.Linear(16, 2)).to(kernels)
        optimizer = gpunn.optim.SGD(net.parameters(), lr=0.1)

        def step(x: Any, net: Any = net, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = net(x).square().sum()
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        x = gpunn.tensor(_numbers(IMAGE).astype(np.float32), device=kernels)
        found.append([run(x).item() for _ in range(4)])
    assert found[0] == found[1]


def test_summary_counts_the_products_of_one_item() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.line = nn.Conv1d(4, 2, 3)

        def forward(self, x: Any) -> Any:
            return self.line(self.conv(x[0]).flatten(1)).unsqueeze(0)

    rows = nn.summarize(Alone(), IMAGE).layers
    assert [row.multiply_adds for row in rows] == [4 * 3 * 9 * 42, 2 * 4 * 3 * 40]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.conv1d(x, gpunn.ones(1, 1, 1)), r"conv1d: expected x \(N, C, L\) or \(C, L\) and weight"),
        (lambda x: F.conv2d(x, gpunn.ones(1, 1, 1, 1)), r"conv2d: expected x \(N, C, H, W\) or \(C, H, W\) and weight"),
        (lambda x: F.max_pool1d(x, 1), r"max_pool1d: expected x of shape \(N, C, L\) or \(C, L\); got"),
        (lambda x: F.avg_pool1d(x, 1), r"avg_pool1d: expected x of shape \(N, C, L\) or \(C, L\); got"),
        (lambda x: F.adaptive_avg_pool1d(x, 1), r"adaptive_avg_pool1d: expected x of shape \(N, C, L\) or \(C, L\)"),
        (lambda x: F.max_pool2d(x, 1), r"max_pool2d: expected x of shape \(N, C, H, W\) or \(C, H, W\); got"),
        (lambda x: F.avg_pool2d(x, 1), r"avg_pool2d: expected x of shape \(N, C, H, W\) or \(C, H, W\); got"),
        (lambda x: F.adaptive_avg_pool2d(x, 1), r"adaptive_avg_pool2d: expected x of shape \(N, C, H, W\) or \(C, H"),
        (lambda x: F.adaptive_max_pool2d(x, 1), r"adaptive_max_pool2d: expected x of shape \(N, C, H, W\) or \(C, H"),
    ],
)
def test_errors_name_both_forms(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"^{message}"):
        call(gpunn.ones(1, 1, 1, 1, 1))
