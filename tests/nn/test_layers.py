"""Layers: their arguments, initial values, gradients, modes, errors, and what fuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DTypeError, LabelError, ShapeError, UsageError
from gpunn.nn import functional as F
from gpunn.primitive import count_bodies


def randn(*shape: int) -> gpunn.Tensor:
    return gpunn.randn(*shape)


# -- shapes, parameters, gradients ----------------------------------------------------------


STATISTICS = {"running_mean": (3,), "running_var": (3,), "num_batches_tracked": ()}


@pytest.mark.parametrize(
    ("make", "x", "y", "state"),
    [
        (lambda: nn.Linear(5, 3), (2, 5), (2, 3), {"weight": (3, 5), "bias": (3,)}),
        (lambda: nn.Linear(5, 3, bias=False), (2, 4, 5), (2, 4, 3), {"weight": (3, 5)}),
        (lambda: nn.Conv2d(4, 6, 3), (2, 4, 8, 9), (2, 6, 6, 7), {"weight": (6, 4, 3, 3), "bias": (6,)}),
        (
            lambda: nn.Conv2d(4, 6, (3, 1), 2, (1, 0), 1, 2, False),
            (1, 4, 8, 8),
            (1, 6, 4, 4),
            {"weight": (6, 2, 3, 1)},
        ),
        (
            lambda: nn.Conv2d(3, 10, 5, padding="same"),
            (1, 3, 32, 32),
            (1, 10, 32, 32),
            {"weight": (10, 3, 5, 5), "bias": (10,)},
        ),
        (lambda: nn.MaxPool2d(2), (1, 3, 7, 8), (1, 3, 3, 4), {}),
        (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 3, 6, 6), (1, 3, 4, 4), {}),
        (lambda: nn.ReLU(True), (2, 3), (2, 3), {}),
        (lambda: nn.Flatten(), (2, 3, 4, 5), (2, 60), {}),
        (lambda: nn.Dropout(0.3), (2, 3), (2, 3), {}),
        (lambda: nn.BatchNorm2d(3), (2, 3, 4, 5), (2, 3, 4, 5), {"weight": (3,), "bias": (3,), **STATISTICS}),
        (lambda: nn.BatchNorm1d(3, affine=False, track_running_stats=False), (4, 3), (4, 3), {}),
        (lambda: nn.BatchNorm1d(3, affine=False), (4, 3, 5), (4, 3, 5), STATISTICS),
    ],
)
def test_shapes_and_state(make, x, y, state) -> None:
    layer = make()
    given = gpunn.randn(*x, requires_grad=True)
    made = layer(given.clone())  # which may change it in place
    assert made.shape == y
    assert {name: tensor.shape for name, tensor in layer.state_dict().items()} == state
    made.sum().backward()
    assert given.grad.shape == x
    assert all(p.grad is not None and p.grad.shape == p.shape for p in layer.parameters())


def test_lecture_sizes() -> None:
    # Lecture topics L10 and L11: 32x32x3, ten filters 5x5, padding 2.
    layer = nn.Conv2d(3, 10, 5, padding=2)
    assert sum(p.numel() for p in layer.parameters()) == 760
    assert layer(randn(1, 3, 32, 32)).shape == (1, 10, 32, 32)
    summary = nn.summarize(layer, (3, 32, 32))
    assert summary.multiply_adds == 768_000
    assert nn.Conv2d(3, 64, 6)(randn(1, 3, 32, 32)).shape == (1, 64, 27, 27)
    assert nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 10, 5))(randn(1, 3, 32, 32)).shape == (
        1,
        10,
        24,
        24,
    )
    net = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))
    found = nn.summarize(net, (10,))
    assert [layer.parameters for layer in found.layers if layer.parameters] == [110, 55, 6]
    assert found.parameters == 171


def test_parameters_are_made_where_and_as_asked() -> None:
    for layer in (
        nn.Linear(2, 3, dtype=gpunn.float64),
        nn.Conv2d(1, 2, 3, dtype=np.float64),
        nn.BatchNorm2d(2, dtype="float64"),
    ):
        assert {p.dtype.name for p in layer.parameters()} == {"float64"}
        assert {p.device.name for p in layer.parameters()} == {"cpu"}
        assert all(p.requires_grad and p.is_leaf for p in layer.parameters())
    assert {p.dtype.name for p in nn.Conv2d(1, 2, 3).parameters()} == {"float32"}
    with pytest.raises(DTypeError, match="only floating dtypes"):
        nn.Linear(2, 3, dtype=gpunn.int64)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Linear(0, 3), r"Linear: in_features: expected a whole number of at least 1; got 0"),
        (lambda: nn.Linear(2, cast(Any, 3.5)), r"Linear: out_features: .*got 3.5"),
        (lambda: nn.Conv2d(3, 4, 0), r"Conv2d: kernel_size: expected an integer >= 1"),
        (
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            r"Conv2d: groups: expected a divisor of in_channels \(3\) and",
        ),
        (lambda: nn.Conv2d(3, 4, 3, stride=(1, 2, 3)), r"Conv2d: stride"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), r"Conv2d: padding"),
        (
            lambda: nn.Conv2d(3, 4, 3, padding="full"),
            r"Conv2d: padding: expected numbers, 'same' or 'valid'; got 'full'",
        ),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), r"Conv2d: padding='same' needs stride 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="wrap"), r"Conv2d: padding_mode: expected 'zeros', 'reflect'"),
        (lambda: nn.MaxPool2d(0), r"MaxPool2d: kernel_size"),
        (lambda: nn.Dropout(1.5), r"Dropout: p: expected a probability from 0 to 1; got 1.5"),
        (lambda: nn.BatchNorm2d(-1), r"BatchNorm2d: num_features"),
        (
            lambda: nn.CrossEntropyLoss(reduction="max"),
            r"CrossEntropyLoss: reduction: expected one of mean, sum, none",
        ),
    ],
)
def test_impossible_arguments_are_named_when_the_layer_is_made(make, match) -> None:
    with pytest.raises(UsageError, match=match):
        make()


def test_strict_windows_refuse_to_lose_a_border() -> None:
    # Lecture topic L10: 7x7 with 3x3: stride 3 never sees the last row and column.
    assert nn.Conv2d(1, 1, 3, stride=2, strict=True)(randn(1, 1, 7, 7)).shape == (1, 1, 3, 3)
    assert nn.Conv2d(1, 1, 3, stride=3)(randn(1, 1, 7, 7)).shape == (1, 1, 2, 2)
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=3, strict=True))
    with pytest.raises(ShapeError, match=r"^0 \(Conv2d\): strict: .*the last 1 row\(s\) and 1 column\(s\)"):
        net(randn(1, 1, 7, 7))
    with pytest.raises(ShapeError, match=r"^MaxPool2d: strict"):
        nn.MaxPool2d(2, strict=True)(randn(1, 1, 4, 5))
    assert "strict=True" in repr(net)


def test_dropout_has_a_stream_of_its_own_and_follows_the_mode() -> None:
    gpunn.manual_seed(3)
    first, second = nn.Dropout(0.5), nn.Dropout(0.5)
    x = gpunn.ones(40, 40)
    once = first(x).numpy()
    assert not np.array_equal(once, second(x).numpy())
    assert not np.array_equal(once, first(x).numpy())
    gpunn.manual_seed(3)
    np.testing.assert_array_equal(nn.Dropout(0.5)(x).numpy(), once)
    assert set(np.unique(once)) == {0, 2}
    np.testing.assert_array_equal(first.eval()(x).numpy(), x.numpy())


def test_copies_of_a_dropout_go_on_with_the_same_stream() -> None:
    layer, x = nn.Dropout(0.5), gpunn.ones(30, 30)
    layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x).numpy(), copy.deepcopy(layer)(x).numpy())


def test_batch_norm_moves_its_estimates_in_training_only() -> None:
    layer = nn.BatchNorm2d(3, momentum=0.5)
    x = gpunn.tensor(np.full((2, 3, 2, 2), 4, np.float32) + np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    layer(x)
    assert layer.num_batches_tracked.item() == 1
    mean = x.numpy().mean((0, 2, 3))
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.5 * mean, rtol=1e-6)
    layer.eval()
    layer(x)
    assert layer.num_batches_tracked.item() == 1
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    assert layer.running_var.numpy().tolist() == [1, 1, 1]
    # A sequence is normalised over batch and length alike.
    sequence = randn(4, 3, 5)
    normed = nn.BatchNorm1d(3)(sequence).detach().numpy()
    np.testing.assert_allclose(normed.mean((0, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(normed.var((0, 2)), 1, atol=1e-4)


# -- fusion ------------------------------------------------------------------------------------


def _layers(kind: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    if kind == "linear":
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), (4, 6)
    if kind == "conv":
        return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten()), (2, 3, 6, 6)
    if kind == "norm1d":
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()), (8, 6)
    if kind == "pool":
        return nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)), (3, 3, 6, 6)
    return nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU()), (3, 3, 6, 6)


@pytest.mark.parametrize("kind", ["linear", "conv", "norm1d", "norm2d", "pool"])
def test_fused_pairs_give_the_same_numbers(kind) -> None:
    layers, shape = _layers(kind)
    pairs = nn.fused_pairs(layers)
    assert len(pairs) == 1
    assert type(pairs[0][1]) is nn.ReLU
    x: Any = gpunn.randn(*shape, requires_grad=True)
    dy = gpunn.randn(*layers(x).shape)

    def run() -> list[np.ndarray]:
        layers.zero_grad()
        x.grad = None
        with count_bodies() as counts:
            y = layers(x)
        fused = not any(name == "relu_forward" for name, _ in counts)
        y.backward(dy)
        assert fused == bool(nn.fused_pairs(layers))
        return [y.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in layers.parameters())]

    fused = run()
    with pairs[0][1].register_forward_hook(lambda module, args, output: None):
        assert nn.fused_pairs(layers) == []
        apart = run()
    for a, b in zip(fused, apart, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_the_exact_layers_without_hooks_fuse() -> None:
    class MyReLU(nn.ReLU):
        pass

    conv, relu = nn.Conv2d(1, 1, 1), nn.ReLU()
    assert nn.fused_pairs([conv, relu]) == [(conv, relu)]
    assert nn.fused_pairs([conv, MyReLU()]) == []
    assert nn.fused_pairs([nn.MaxPool2d(2), relu]) == []
    assert nn.fused_pairs([conv, nn.Flatten(), relu]) == []
    with conv.register_forward_hook(lambda module, args, output: None):
        assert nn.fused_pairs([conv, relu]) == []
    relu.forward = lambda x: x
    assert nn.fused_pairs([conv, relu]) == []


def test_a_relu_goes_into_the_max_pooling_behind_it() -> None:
    conv, relu, pool, flatten = nn.Conv2d(1, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    norm = nn.BatchNorm2d(1)
    assert nn.fused_pairs([norm, relu, pool, flatten]) == [(pool, relu), (pool, flatten)]
    assert nn.fused_pairs([relu, pool, relu, pool]) == [(pool, relu), (pool, relu)]
    assert nn.fused_pairs([relu, relu, pool]) == [(pool, relu)]
    assert nn.fused_pairs([norm, relu, nn.MaxPool2d(2, strict=True)])[0][1] is relu
    # Where the pooling cannot, the layer before does.
    assert nn.fused_pairs([conv, relu, nn.MaxPool2d(2, return_indices=True)]) == [(conv, relu)]
    large = nn.MaxPool2d(16)  # whose offsets take two bytes
    assert nn.fused_pairs([conv, relu, large]) == [(conv, relu), (conv, large)]
    assert nn.fused_pairs([conv, relu, nn.MaxPool2d((15, 17))]) != [(conv, relu)]
    with pool.register_forward_hook(lambda module, args, output: None):
        assert nn.fused_pairs([conv, relu, pool, flatten]) == [(conv, relu)]
    with relu.register_forward_hook(lambda module, args, output: None):
        assert nn.fused_pairs([conv, relu, pool, flatten]) == [(pool, flatten)]


def test_a_max_pooling_goes_into_the_convolution_before_it() -> None:
    conv, relu, pool, flatten = nn.Conv2d(1, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    assert nn.fused_pairs([conv, relu, pool, flatten]) == [(conv, relu), (conv, pool), (conv, flatten)]
    assert nn.fused_pairs([conv, pool, relu]) == [(conv, pool)]
    assert nn.fused_pairs([conv, pool, nn.Flatten(2)]) == [(conv, pool)]
    strict = nn.MaxPool2d(2, strict=True)
    assert nn.fused_pairs([conv, relu, strict]) == [(strict, relu)]
    net = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "relu": relu, "pool": nn.MaxPool2d(4)})
    with pytest.raises(ShapeError, match=r"^pool \(MaxPool2d\): the window is 4 in height"):
        net(gpunn.zeros(1, 1, 5, 9))
    with pytest.raises(ShapeError, match=r"^conv \(Conv2d\): expected 1 input channels"):
        net(gpunn.zeros(1, 2, 9, 9))


def test_hooks_on_fusable_layers_see_what_each_layer_gives() -> None:
    layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    seen = {}
    for name, layer in layers.named_children():
        layer.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output.detach().numpy()})
        )
    layers(randn(50, 4))
    assert (seen["0"] < 0).any()
    np.testing.assert_array_equal(seen["1"], np.maximum(seen["0"], 0))


def test_functional_names() -> None:
    x = randn(2, 3, 8, 8)
    weight = randn(4, 3, 3, 3)
    expected = np.maximum(F.conv2d(x, weight).numpy(), 0)
    np.testing.assert_array_equal(F.relu(F.conv2d(x, weight)).numpy(), expected)
    np.testing.assert_array_equal(F.conv2d(x, weight, activation="relu").numpy(), expected)
    assert F.flatten(F.max_pool2d(x, 2), 1).shape == (2, 48)
    assert F.linear(randn(2, 3), randn(5, 3)).shape == (2, 5)
    assert F.cross_entropy(randn(4, 3), gpunn.tensor(np.array([0, 1, 2, 0]))).shape == ()
    assert F.dropout(x, training=False).shape == x.shape
    assert F.batch_norm(x, None, None, training=True).shape == x.shape


def test_cross_entropy_loss() -> None:
    scores, labels = randn(4, 3), gpunn.tensor(np.array([0, 2, 1, 2]))
    each = nn.CrossEntropyLoss(reduction="none")(scores, labels).numpy()
    logs = scores.numpy() - np.log(np.exp(scores.numpy()).sum(1, keepdims=True))
    np.testing.assert_allclose(each, -logs[np.arange(4), labels.numpy()], rtol=1e-5)
    assert nn.CrossEntropyLoss()(scores, labels).item() == pytest.approx(each.mean(), rel=1e-6)
    assert nn.CrossEntropyLoss(reduction="sum")(scores, labels).item() == pytest.approx(each.sum(), rel=1e-6)
    ignoring = nn.CrossEntropyLoss(ignore_index=2)(scores, labels).item()
    assert ignoring == pytest.approx(each[[0, 2]].mean(), rel=1e-6)
    with pytest.raises(LabelError, match=r"^CrossEntropyLoss.*3"):
        nn.CrossEntropyLoss()(scores, gpunn.tensor(np.array([0, 1, 2, 3])))


def test_summary_tells_of_unused_borders_and_shared_layers() -> None:
    shared = nn.Linear(9, 9)
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, stride=3),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(1, 9),
        shared,
        shared,
    )
    summary = nn.summarize(net, (1, 7, 8))
    assert summary.layers[0].notes == (
        "last row of the padded input unused",
        "last 2 columns of the padded input unused",
    )
    assert [layer.parameters for layer in summary.layers[-2:]] == [90, 0]
    assert summary.parameters == sum(p.numel() for p in net.parameters())
    assert net.training
    with pytest.raises(ShapeError, match=r"^0 \(Conv2d\): expected 1 input channels"):
        nn.summarize(net, (3, 7, 7))
    assert not any(module._forward_hooks for module in net.modules())


# -- PyTorch -----------------------------------------------------------------------------------


def test_repr_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")

    def build(nn):
        return nn.Sequential(
            nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, dilation=2, bias=False),
            nn.Conv2d(8, 8, 3, padding="same", groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.MaxPool2d((3, 2), 2, 1, ceil_mode=True),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU()),
            nn.ModuleList([nn.CrossEntropyLoss()]),
            nn.Sequential(),
        )

    assert repr(build(nn)) == repr(build(torch.nn))
    assert repr(nn.BatchNorm2d(3)) == repr(torch.nn.BatchNorm2d(3))


def test_state_dict_keys_order_and_shapes_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")

    def build(nn):
        module: Any = nn.Module

        class Net(module):
            def __init__(self):
                super().__init__()
                self.norm = nn.BatchNorm2d(3)
                self.body = nn.Sequential(nn.Conv2d(3, 4, 3, groups=1), nn.BatchNorm2d(4, affine=False), nn.ReLU())
                self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2, bias=False)])
                self.norm1 = nn.BatchNorm1d(2, track_running_stats=False)
                self.alias = self.heads[0]

        return Net()

    ours, theirs = build(nn).state_dict(), build(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}
    assert {k: str(v.dtype) for k, v in ours.items()} == {k: str(v.dtype).split(".")[1] for k, v in theirs.items()}
