"""Layers: their arguments, initial values, gradients, modes, errors, and what fuses."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DTypeError, LabelError, ShapeError, UsageError
from gpunn.nn import functional as F
from gpunn.nn import init
from gpunn.primitive import count_bodies
from gpunn.random import Generator


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
    made = layer(given)
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
        (lambda: nn.Linear(2, 3.5), r"Linear: out_features: .*got 3.5"),
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
        (lambda: nn.Conv2d(3, 4, 2, padding="same"), r"Conv2d: padding='same' needs stride 1 and an odd"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), r"Conv2d: padding='same' needs stride 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="reflect"), r"Conv2d: padding_mode: expected 'zeros'"),
        (lambda: nn.MaxPool2d(0), r"MaxPool2d: kernel_size"),
        (lambda: nn.MaxPool2d(2, return_indices=True), r"MaxPool2d: return_indices=True is not supported"),
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


# -- initial values ------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "fan_in"), [(nn.Linear, 500), (nn.Conv2d, 20 * 25)])
def test_default_initial_values_are_uniform_on_one_over_the_root_of_fan_in(layer, fan_in) -> None:
    made = layer(500, 400) if layer is nn.Linear else layer(20, 400, 5)
    bound = 1 / math.sqrt(fan_in)
    for values in (made.weight.detach().numpy(), made.bias.detach().numpy()):
        assert np.abs(values).max() <= bound
        n = values.size
        # The mean of n uniforms on ±bound has standard deviation bound / sqrt(3 n); five of them.
        assert abs(values.mean()) < 5 * bound / math.sqrt(3 * n)
        # Their variance bound² / 3 is estimated with relative error sqrt(0.8 / n).
        assert abs(values.var() * 3 / bound**2 - 1) < 5 * math.sqrt(0.8 / n)


@pytest.mark.parametrize(
    ("fill", "variance"),
    [
        (lambda w: init.normal_(w, std=0.3), 0.09),
        (lambda w: init.uniform_(w, -2, 2), 16 / 12),
        (lambda w: init.xavier_uniform_(w, gain=2), 4 * 2 / (300 + 200)),
        (lambda w: init.xavier_normal_(w), 2 / (300 + 200)),
        (lambda w: init.kaiming_uniform_(w), 2 / 300),
        (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), 2 / 200),
        (lambda w: init.kaiming_normal_(w, a=0.5), 2 / 1.25 / 300),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="linear"), 1 / 300),
    ],
)
def test_variances(fill, variance) -> None:
    weight = nn.Parameter(gpunn.zeros(200, 300))
    assert fill(weight) is weight
    values = weight.detach().numpy()
    # 60,000 draws: the relative error of a Gaussian's variance is sqrt(2 / n) = 0.6 %; five of them.
    assert abs(values.var() / variance - 1) < 0.03
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)


def test_init_writes_in_logical_order_from_the_given_generator() -> None:
    weight = init.normal_(gpunn.zeros(4, 3, 2, 5), generator=Generator(5))
    np.testing.assert_array_equal(weight.numpy(), Generator(5).normal(0, 1, (4, 3, 2, 5)))
    assert init.constant_(gpunn.zeros(3), 0.1).tolist() == pytest.approx([0.1] * 3)
    assert init.ones_(gpunn.zeros(2)).tolist() == [1, 1]
    assert init.zeros_(gpunn.ones(2)).tolist() == [0, 0]
    assert init._calculate_fan_in_and_fan_out(gpunn.zeros(6, 4, 3, 5)) == (60, 90)
    with pytest.raises(ShapeError, match=r"need a weight of two axes or more; got shape \(3,\)"):
        init.xavier_normal_(gpunn.zeros(3))
    with pytest.raises(UsageError, match="mode: expected 'fan_in' or 'fan_out'; got 'fan'"):
        init.kaiming_normal_(gpunn.zeros(3, 3), mode="fan")
    with pytest.raises(UsageError, match="expected one of linear"):
        init.calculate_gain("relux")


def test_a_seed_gives_the_same_weights_and_different_layers_different_ones() -> None:
    gpunn.manual_seed(11)
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    gpunn.manual_seed(11)
    again = nn.Linear(4, 4)
    np.testing.assert_array_equal(first.weight.detach().numpy(), again.weight.detach().numpy())
    assert not np.array_equal(first.weight.detach().numpy(), second.weight.detach().numpy())


# -- fusion ------------------------------------------------------------------------------------


def _layers(kind: str) -> tuple[nn.Sequential, tuple[int, ...]]:
    if kind == "linear":
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), (4, 6)
    if kind == "conv":
        return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten()), (2, 3, 6, 6)
    if kind == "norm1d":
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()), (8, 6)
    return nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU()), (3, 3, 6, 6)


@pytest.mark.parametrize("kind", ["linear", "conv", "norm1d", "norm2d"])
def test_fused_pairs_give_the_same_numbers(kind) -> None:
    layers, shape = _layers(kind)
    pairs = nn.fused_pairs(layers)
    assert len(pairs) == 1
    assert type(pairs[0][1]) is nn.ReLU
    x = gpunn.randn(*shape, requires_grad=True)
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
    # PyTorch 2.13 shows the bias of a norm; earlier ones do not.
    assert repr(nn.BatchNorm2d(3)) == repr(torch.nn.BatchNorm2d(3)).replace("bias=True, ", "")


def test_state_dict_keys_order_and_shapes_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")

    def build(nn):
        class Net(nn.Module):
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


def test_init_spreads_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for name, options in (
        ("kaiming_uniform_", {"a": math.sqrt(5)}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("xavier_uniform_", {"gain": 1.5}),
        ("xavier_normal_", {}),
    ):
        ours, theirs = gpunn.zeros(80, 40, 3, 3), torch.zeros(80, 40, 3, 3)
        getattr(init, name)(ours, **options)
        getattr(torch.nn.init, name)(theirs, **options)
        # 28,800 draws each: the ratio of two estimated standard deviations is within 3 % (five errors).
        assert abs(float(ours.numpy().std() / theirs.numpy().std()) - 1) < 0.03, name
    for nonlinearity in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(nonlinearity) == pytest.approx(torch.nn.init.calculate_gain(nonlinearity))
