"""LeNet and the multilayer perceptrons of the lectures (N1, N2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn, optim
from gpunn.data import DataLoader, Digits
from gpunn.train import Trainer


def test_N1_lenet_shapes_weights_and_parameters() -> None:
    net = models.LeNet5()
    outputs = [layer.output_shape for layer in nn.summarize(net, (1, 28, 28)).layers]
    assert outputs == [
        *((20, 28, 28), (20, 28, 28), (20, 14, 14), (50, 14, 14), (50, 14, 14), (50, 7, 7)),
        *((2450,), (500,), (500,), (10,)),
    ]
    shapes = [p.shape for name, p in net.named_parameters() if name.endswith("weight")]
    # Matrices are kept as PyTorch keeps them: the lecture's 500 x 2450 maps 2450 numbers to 500.
    assert shapes == [(20, 1, 5, 5), (50, 20, 5, 5), (500, 2450), (10, 500)]
    assert sum(p.numel() for p in net.parameters()) == 1_256_080


def test_N1_lenet_is_one_case_of_the_pattern() -> None:
    layers = models.convolutional_layers(1, (28, 28), (20, 50), (500,), 10)
    kinds = [type(layer).__name__ for layer in layers.values()]
    conv, dense = ["Conv2d", "ReLU", "MaxPool2d"], ["Linear", "ReLU"]
    assert kinds == [*conv, *conv, "Flatten", *dense, "Linear"]
    net = nn.Sequential(layers)
    net.load_state_dict(models.LeNet5().state_dict())
    deeper = models.convolutional_layers(3, (32, 32), (8, 16, 32), (64, 32), 5)
    kinds = [type(layer).__name__ for layer in deeper.values()]
    assert kinds == [*conv * 3, "Flatten", *dense * 2, "Linear"]
    assert nn.Sequential(deeper)(gpunn.ones(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mlp", "Linear ReLU"),
        ("mlp-dropout", "Linear ReLU Dropout"),
        ("modern-mlp", "Linear BatchNorm1d PReLU"),
        ("modern-mlp-dropout", "Linear BatchNorm1d PReLU Dropout"),
    ],
)
def test_N2_mlp_pads_digits_to_1024_features(name: str, kinds: str) -> None:
    net: Any = models.build(name)
    assert net.features == 1024
    expected = ["ZeroPad2d", "Flatten", *kinds.split() * 2, "Linear"]
    assert [type(layer).__name__ for layer in net] == expected
    image = np.random.Generator(np.random.Philox(0)).standard_normal((2, 1, 28, 28)).astype(np.float32)
    padded = net[0](gpunn.tensor(image)).numpy()
    assert padded.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(padded[:, :, 2:30, 2:30], image)
    assert abs(padded).sum() == abs(image).sum()


@pytest.mark.parametrize("name", ["mlp", "modern-mlp", "modern-mlp-dropout"])
def test_N2_mlp_learns_digits(name: str) -> None:
    """The figure on MNIST, above 98 %, is in the README with its command; here a few seconds on Digits."""
    pytest.importorskip("sklearn")
    gpunn.manual_seed(0)
    net = models.build(name)
    trainer = Trainer(net, optim.Adam(net.parameters(), lr=1e-3), device="cpu", log=None)
    trainer.fit(DataLoader(Digits(train=True), 64, shuffle=True), DataLoader(Digits(train=False), 360), epochs=4)
    assert trainer.history[-1].test_accuracy_percent >= 95


def test_N2_refuses_images_larger_than_the_padding() -> None:
    with pytest.raises(gpunn.errors.UsageError, match="pad_to: expected at least the images' 40x40; got 32"):
        models.MLP((1, 40, 40), pad_to=32)
