"""The lecture's LeNet: its shapes and size, its registry entry, and weights that move to PyTorch and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn
from gpunn.errors import ShapeError, UsageError

WEIGHTS = {
    "conv1.weight": (20, 1, 5, 5),
    "conv1.bias": (20,),
    "conv2.weight": (50, 20, 5, 5),
    "conv2.bias": (50,),
    "fc1.weight": (500, 2450),
    "fc1.bias": (500,),
    "fc2.weight": (10, 500),
    "fc2.bias": (10,),
}


def test_shapes_and_parameters_are_the_lectures() -> None:
    net = models.LeNet5()
    assert {name: tensor.shape for name, tensor in net.state_dict().items()} == WEIGHTS
    assert sum(p.numel() for p in net.parameters()) == 1_256_080
    summary = nn.summarize(net, (1, 28, 28))
    assert {layer.name: layer.output_shape for layer in summary.layers} == {
        "conv1": (20, 28, 28),
        "relu1": (20, 28, 28),
        "pool1": (20, 14, 14),
        "conv2": (50, 14, 14),
        "relu2": (50, 14, 14),
        "pool2": (50, 7, 7),
        "flatten": (2450,),
        "fc1": (500,),
        "relu3": (500,),
        "fc2": (10,),
    }
    assert summary.parameters == 1_256_080
    # 28·28·20·25 + 14·14·50·20·25 + 500·2450 + 10·500
    assert summary.multiply_adds == 392_000 + 4_900_000 + 1_225_000 + 5_000
    assert [layer.name for layer in summary.layers if "fused" in " ".join(layer.notes)] == [
        "relu1",
        "pool1",
        "relu2",
        "pool2",
        "flatten",
        "relu3",
    ]
    # Four bytes for each output that is stored: of a convolution only what is left of it after pooling.
    stored = 20 * 14 * 14 + 50 * 7 * 7 + 500 + 10
    assert summary.activation_bytes == 4 * stored


def test_other_sizes() -> None:
    net = models.LeNet5(3, 7, (4, 6), 11, (33, 20))
    assert net(gpunn.randn(2, 3, 33, 20)).shape == (2, 7)
    assert net.fc1.weight.shape == (11, 6 * 8 * 5)
    with pytest.raises(
        ShapeError, match=r"^conv1 \(Conv2d\): expected 3 input channels to match weight \(4, 3, 5, 5\)"
    ):
        net(gpunn.randn(2, 1, 33, 20))
    with pytest.raises(ShapeError, match=r"^fc1 \(Linear\): expected 240 input features"):
        net(gpunn.randn(2, 3, 28, 28))
    with pytest.raises(UsageError, match="2 pools leave nothing of an image of 3x28; expected at least 4x4"):
        models.LeNet5(image=(3, 28))
    with pytest.raises(UsageError, match="kernel_size: expected an odd number; got 4"):
        models.convolutional_layers(1, (28, 28), (4,), (), 10, kernel_size=4)


def test_the_pattern_makes_any_depth() -> None:
    layers = models.convolutional_layers(1, (32, 32), (4, 8, 16), (20, 30), 5, kernel_size=3)
    kinds = [type(layer).__name__ for layer in layers.values()]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d"] * 3 + ["Flatten"] + ["Linear", "ReLU"] * 2 + ["Linear"]
    assert len(set(layers)) == len(kinds)
    assert nn.Sequential(layers)(gpunn.randn(2, 1, 32, 32)).shape == (2, 5)
    assert nn.Sequential(models.convolutional_layers(1, (8, 8), (), (), 3))(gpunn.randn(2, 1, 8, 8)).shape == (2, 3)


def test_registry() -> None:
    assert type(models.build("lenet5")) is models.LeNet5
    assert models.build("lenet5", (3, 32, 32), 7).fc2.out_features == 7
    for entry in models.MODELS.values():
        assert entry.description
        assert "\n" not in entry.description
    for wrong in ("lenet", "LeNet-5", "lennet5"):
        with pytest.raises(UsageError, match=r"unknown model .*: expected one of lenet5.*; did you mean 'lenet5'\?"):
            models.find(wrong)
    with pytest.raises(UsageError, match=r"expected one of lenet5, .*\.$"):
        models.find("transformer")


def _torch_twin(torch):
    functional = torch.nn.functional
    module: Any = torch.nn.Module

    class LeNet(module):
        """The same network as PyTorch users write it."""

        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 20, 5, padding=2)
            self.conv2 = torch.nn.Conv2d(20, 50, 5, padding=2)
            self.fc1 = torch.nn.Linear(2450, 500)
            self.fc2 = torch.nn.Linear(500, 10)

        def forward(self, x):
            x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
            x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
            return self.fc2(functional.relu(self.fc1(x.flatten(1))))

    return LeNet()


def _logits(torch, ours, theirs) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((7, 1, 28, 28)).astype(np.float32)
    with torch.no_grad(), gpunn.no_grad():
        return ours(gpunn.tensor(x)).numpy(), theirs(torch.tensor(x)).numpy()


def test_weights_come_from_torch(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(5)  # random kernels are asymmetric: a flipped or transposed one would show
    ours, theirs = models.LeNet5(), _torch_twin(torch)
    save_file(theirs.state_dict(), tmp_path / "twin.safetensors")
    ours.load_state_dict(gpunn.load_file(tmp_path / "twin.safetensors"))
    mine, expected = _logits(torch, ours, theirs)
    # Sums of up to 2,450 products in float32, in another order.
    np.testing.assert_allclose(mine, expected, atol=1e-4)


def test_weights_go_to_torch(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    ours, theirs = models.LeNet5(), _torch_twin(torch)
    gpunn.save_file(ours.state_dict(), tmp_path / "ours.safetensors")
    theirs.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    mine, expected = _logits(torch, ours, theirs)
    np.testing.assert_allclose(mine, expected, atol=1e-4)
