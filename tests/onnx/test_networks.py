"""Every network of gpunn.models, exported: onnxruntime gives its outputs for a batch of another size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn
from gpunn.nn import functional as F
from tests.onnx_runs import compare, run

pytest.importorskip("onnxruntime", reason="what is exported is run in onnxruntime: pip install onnx onnxruntime")


@pytest.fixture
def quick_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial weights cost no time: the test draws its own."""
    for name in ("uniform", "normal"):
        monkeypatch.setattr(gpunn.Generator, name, lambda self, *args: np.zeros(args[2], np.float32))
    monkeypatch.setattr("gpunn.nn.init.trunc_normal_", lambda tensor, *args, **options: tensor)


def drawn(model: nn.Module) -> nn.Module:
    """With weights that keep numbers in the layers of the order of 1, and running estimates as if trained."""
    rng = np.random.Generator(np.random.Philox(5))
    with gpunn.no_grad():
        for parameter in model.parameters():
            fan = max(parameter.numel() // max(parameter.shape[0], 1), 1) if parameter.ndim > 1 else 4
            parameter.copy_(rng.standard_normal(parameter.shape, np.float32) * np.float32((2 / fan) ** 0.5))
        for name, buffer in model.named_buffers():
            if buffer.dtype.kind == "f":
                values = rng.uniform(0.5, 2, buffer.shape) if "var" in name else rng.normal(size=buffer.shape)
                buffer.copy_(values.astype(np.float32))
    return model


def narrow(model: Any, features: int) -> Any:
    """With few hidden units in the classifier, whose weights are most of a network's."""
    places = [i for i, layer in enumerate(model.classifier) if isinstance(layer, nn.Linear)]
    for place, inside, outside in zip(places, (features, 8, 8), (8, 8, 5), strict=True):
        model.classifier[place] = nn.Linear(inside, outside)
    return model


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet5": (lambda: models.build("lenet5"), (1, 28, 28)),
    "mlp": (lambda: models.MLP((1, 8, 8), 4, hidden=(12, 9)), (1, 8, 8)),
    "modern-mlp-dropout": (lambda: models.build("modern-mlp-dropout"), (1, 28, 28)),
    "perceptron": (lambda: models.Perceptron(6), (6,)),
    "resnet9": (lambda: models.ResNet9(width=8), (3, 32, 32)),
    "cifar-speed": (lambda: models.CifarSpeedNet(widths=(8, 16, 16)), (3, 32, 32)),
    "resnet20": (lambda: models.build("resnet20"), (3, 32, 32)),
    "resnet20 with projections": (lambda: models.ResNetCifar(20, "B"), (3, 32, 32)),
    "alexnet-cifar": (lambda: narrow(models.build("alexnet-cifar"), 4096), (3, 32, 32)),
    "alexnet": (lambda: narrow(models.AlexNet(5), 9216), (3, 71, 64)),
    "alexnet-two-groups": (lambda: narrow(models.AlexNetTwoGroups(5), 9216), (3, 227, 227)),
    "vgg11": (lambda: narrow(models.VGG(11, False, 5), 512 * 49), (3, 32, 37)),
    "vgg13-bn": (lambda: narrow(models.VGG(13, True, 5), 512 * 49), (3, 32, 32)),
    "googlenet": (lambda: models.GoogLeNet(5, aux_logits=True), (3, 33, 40)),
    "resnet18": (lambda: models.ResNet(18, 5), (3, 33, 32)),
    "resnet50": (lambda: models.ResNet(50, 5), (3, 33, 32)),
    "densenet121": (lambda: models.DenseNet(121, 5), (3, 32, 35)),
    "vit-small": (lambda: models.build("vit-small"), (3, 32, 32)),
    "vit-b-16": (lambda: models.VisionTransformer(32, 16, 2, 12, 96, 384, num_classes=5), (3, 32, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_onnxruntime_gives_its_outputs(name: str, quick_draws: None) -> None:
    make, shape = NETWORKS[name]
    model = drawn(make())
    rng = np.random.Generator(np.random.Philox(6))
    one, three = (rng.normal(size=(n, *shape)).astype(np.float32) for n in (1, 3))
    modes = [module.training for module in model.modules()]
    proto = compare(model.train(), [one], [three])
    assert [module.training for module in model.eval().modules()] == [False] * len(modes)
    weights = {tensor.name for tensor in proto.graph.initializer}
    missing = {key for key, _ in model.named_parameters() if "aux" not in key} - weights
    assert missing == set()
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_all_networks_of_the_registry_have_a_case() -> None:
    covered = {name.split(" ")[0] for name in NETWORKS}
    # The same class with other numbers.
    same = {"modern-mlp": "mlp", "mlp-dropout": "mlp", "resnet56": "resnet20", "vgg16": "vgg11", "resnet34": "resnet18"}
    assert {same.get(name, name) for name in models.MODELS} <= covered


class Net(nn.Module):
    """What users write: functional calls, views, residual addition, branches, attention, two outputs, a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.norm = nn.GroupNorm(2, 8)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.act = nn.PReLU(8)
        self.pos = nn.Parameter(gpunn.randn(1, 16, 16))
        self.layers = nn.ModuleList([nn.MultiheadAttention(16, 4, batch_first=True) for _ in range(2)])
        self.out = nn.Linear(16, 5)
        self.register_buffer("mean", gpunn.randn(3, 1, 1), persistent=False)

    def forward(self, x: Any, scale: float = 1.0) -> Any:
        x = x - self.mean
        y = F.relu(self.norm(self.conv(x)))
        y = y + self.act(self.norm(y))
        y = gpunn.cat([self.down(y), F.max_pool2d(y, 3, 2, padding=1, ceil_mode=False)], 1)
        tokens = y.view(y.size(0), 16, -1).transpose(1, 2)[:, :16] + self.pos
        for layer in self.layers:
            attended, weights = layer(tokens, tokens, tokens)
            tokens = F.layer_norm(tokens + attended, (16,))
        pooled = tokens.mean(1)
        return {"scores": F.softmax(self.out(F.dropout(pooled, training=self.training)), 1), "weights": weights}


def test_a_network_as_users_write_them() -> None:
    gpunn.manual_seed(2)
    rng = np.random.Generator(np.random.Philox(7))
    images = [rng.normal(size=(n, 3, 8, 8)).astype(np.float32) for n in (2, 5)]
    proto = compare(Net(), images[:1], images[1:], output_names=["scores", "weights"])
    assert [one.name for one in proto.graph.output] == ["scores", "weights"]
    assert {"pos", "mean", "layers.1.in_proj_weight"} <= {tensor.name for tensor in proto.graph.initializer}
    assert any(node.name.startswith("/layers/1/") for node in proto.graph.node)


class Cells(nn.Module):
    """A recurrent layer step by step."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.cell = getattr(nn, f"{name}Cell")(4, 5)

    def forward(self, x: Any) -> Any:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return state


@pytest.mark.parametrize(
    ("name", "options"),
    [("RNN", {}), ("LSTM", {"num_layers": 2, "bidirectional": True}), ("LSTM", {"proj_size": 2}), ("GRU", {})],
)
def test_recurrent_layers(name: str, options: dict[str, Any]) -> None:
    gpunn.manual_seed(3)
    layer = getattr(nn, name)(4, 5, batch_first=True, **options)
    rng = np.random.Generator(np.random.Philox(9))
    sequences = [rng.normal(size=(n, 3, 4)).astype(np.float32) for n in (2, 5)]
    proto = compare(layer, sequences[:1], sequences[1:])
    compare(Cells(name), sequences[:1], sequences[1:])
    assert {"weight_ih_l0", "weight_hh_l0"} <= {tensor.name for tensor in proto.graph.initializer}


def test_images_of_any_size() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    axes = {"x": {0: "n", 2: "height", 3: "width"}}
    proto = gpunn.onnx.export(nn.Sequential(model), gpunn.zeros(1, 1, 8, 8), dynamic_axes=axes)
    x = np.random.Generator(np.random.Philox(8)).normal(size=(2, 1, 11, 9)).astype(np.float32)
    (found,) = run(proto, [x])
    np.testing.assert_allclose(found, model(gpunn.tensor(x)).detach().numpy(), rtol=0, atol=1e-5)  # of numbers below 1


def test_two_inputs_with_axes_of_their_own() -> None:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, query: Any, memory: Any) -> Any:
            return self.attention(query, memory, memory, need_weights=False)[0]

    axes = {"query": {0: "batch", 1: "length"}, "memory": {0: "batch", 1: "memories"}}
    rng = np.random.Generator(np.random.Philox(9))

    def arrays(batch: int, length: int, memories: int) -> list[np.ndarray]:
        return [rng.normal(size=(batch, n, 8)).astype(np.float32) for n in (length, memories)]

    compare(Attend(), arrays(2, 3, 3), arrays(4, 7, 5), dynamic_axes=axes)
