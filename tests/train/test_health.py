"""Layer health: vanishing and exploding gradients (T8), saturated activations and dead ReLUs (T9), found by layer."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import CaptureError, UsageError
from gpunn.nn import functional as F
from gpunn.optim import SGD
from gpunn.train import HealthCheck, HealthReport, LayerHealth, Trainer, layer_health
from tests.devices import EVERYWHERE

_WIDTH = 32


def batch(n: int = 64, features: int = _WIDTH, classes: int = 10, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.normal(size=(n, features)).astype(np.float32), np.arange(n) % classes


def deep(activation: Callable[[], nn.Module], start: Callable[[gpunn.Tensor], object], depth: int = 8) -> nn.Sequential:
    """``depth`` hidden layers whose weights ``start`` fills, without biases."""
    gpunn.manual_seed(1)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(_WIDTH, _WIDTH, bias=False), activation()]
        start(layers[-2].weight)
    return nn.Sequential(*layers, nn.Linear(_WIDTH, 10))


def row(report: HealthReport, name: str) -> LayerHealth:
    (found,) = [layer for layer in report.layers if layer.name == name]
    return found


def verdicts(report: HealthReport, kind: str) -> list[tuple[str, ...]]:
    return [layer.verdicts for layer in report.layers if layer.kind == kind]


# -- the lectures' examples -------------------------------------------------------------------------


def test_gradients_vanish_in_a_deep_sigmoid_network() -> None:
    report = layer_health(deep(nn.Sigmoid, nn.init.xavier_normal_), batch())
    norms = [layer.gradient_norm for layer in report.layers if layer.kind == "Linear"]
    # Each sigmoid multiplies by at most 1/4 on the way back.
    assert all(below < above / 2 for below, above in itertools.pairwise(norms))
    assert verdicts(report, "Linear")[0] == ("vanishing",)
    assert verdicts(report, "Linear")[-3:] == [(), (), ()]
    assert verdicts(report, "Sigmoid") == [()] * 8
    assert row(report, "0").gradient_of_last == pytest.approx(norms[0] / norms[-1])
    assert report.findings()[0].startswith("vanishing gradients: 0 (Linear), 2 (Linear)")
    assert "use ReLU" in report.findings()[0]


def test_gradients_keep_their_size_with_relu_and_kaimings_values() -> None:
    report = layer_health(deep(nn.ReLU, nn.init.kaiming_normal_), batch())
    assert report.healthy
    assert report.findings() == []
    assert 0.1 < row(report, "0").gradient_of_last < 10
    assert str(report).endswith("no layer stands out")


def test_gradients_explode_with_large_initial_values() -> None:
    report = layer_health(deep(nn.ReLU, lambda w: nn.init.normal_(w, 0, 1.5)), batch())
    found = verdicts(report, "Linear")
    assert found[0] == ("exploding",)
    assert found[-1] == ()
    assert row(report, "0").gradient_of_last > 1e3
    assert report.findings()[0].startswith("exploding gradients: 0 (Linear)")


def test_tanh_saturates_with_large_initial_values() -> None:
    report = layer_health(deep(nn.Tanh, lambda w: nn.init.normal_(w, 0, 1.0)), batch())
    assert all("saturated" in found for found in verdicts(report, "Tanh"))
    assert all(0.5 < layer.saturated < 1 for layer in report.layers if layer.kind == "Tanh")
    fine = layer_health(deep(nn.Tanh, nn.init.xavier_normal_), batch())
    assert fine.healthy
    assert all(layer.saturated < 0.1 for layer in fine.layers if layer.kind == "Tanh")


def test_relu_with_a_large_negative_bias_is_dead() -> None:
    gpunn.manual_seed(1)
    model = nn.Sequential(nn.Linear(_WIDTH, 8), nn.ReLU(), nn.Linear(8, 10))
    with gpunn.no_grad():
        model[0].bias.copy_(gpunn.tensor([-100.0] * 5 + [1.0] * 3))
    report = layer_health(model, batch())
    # The ReLU's output is always 0, and no gradient reaches the units before it.
    assert row(report, "0").dead == row(report, "1").dead == 5 / 8
    assert [layer.verdicts for layer in report.layers] == [("dead",), ("dead",), ()]
    assert row(report, "2").dead == 0
    with gpunn.no_grad():
        model[0].bias.copy_(gpunn.tensor([-100.0] * 3 + [1.0] * 5))
    assert layer_health(model, batch()).healthy, "3 of 8 is less than half"


# -- what the figures are ---------------------------------------------------------------------------


def test_saturation_is_a_slope_below_a_twentieth() -> None:
    class Net(nn.Module):
        def __init__(self, activation: nn.Module) -> None:
            super().__init__()
            self.activation = activation
            self.fc = nn.Linear(6, 2)

        def forward(self, x):
            return self.fc(self.activation(x))

    edge = np.arctanh(np.sqrt(0.95))  # there tanh's slope is 1 - 0.95; the sigmoid's at twice that is a 20th of 1/4
    x = np.array([[-edge - 0.01, -edge + 0.01, 0, edge - 0.01, edge + 0.01, 50]], np.float32)
    for activation, inputs in ((nn.Tanh(), x), (nn.Sigmoid(), 2 * x)):
        found = row(layer_health(Net(activation), (inputs, np.array([1]))), "activation")
        assert found.saturated == 3 / 6, activation
        assert found.verdicts == (), "half is not more than half"
    limited = np.array([[-2, -1, -0.5, 0.5, 1, 2]], np.float32)
    assert row(layer_health(Net(nn.Hardtanh()), (limited, np.array([1]))), "activation").saturated == 4 / 6


def test_the_models_own_output_is_not_judged() -> None:
    gpunn.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    with gpunn.no_grad():
        model[0].weight.mul_(1000)
    x = np.ones((5, 4), np.float32)
    report = layer_health(model, (x, np.ones((5, 3), np.float32)), nn.MSELoss())
    assert row(report, "1").saturated == 1
    assert row(report, "1").verdicts == ()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_figures_of_known_layers(where: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).to(where)
    first, last = (np.array(v, np.float32) for v in ([[1, 0], [0, 1], [-1, -1]], [[1, 2, 3], [-1, 0, 1]]))
    with gpunn.no_grad():
        model[0].weight.copy_(gpunn.tensor(first, device=where))
        model[2].weight.copy_(gpunn.tensor(last, device=where))
    x, labels = np.array([[1, 2], [3, -1]], np.float32), np.array([0, 1])
    report = layer_health(model, (x, labels))
    hidden = x @ first.T
    rectified = np.maximum(hidden, 0)
    scores = rectified @ last.T
    share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    dscores = (share - np.eye(2)[labels]) / 2
    dhidden = (dscores @ last) * (hidden > 0)
    one, relu, two = report.layers
    assert report.images == 2
    assert report.loss == pytest.approx(-np.log(share[[0, 1], labels]).mean(), rel=1e-5)
    assert (one.name, one.kind, relu.name, relu.kind) == ("0", "Linear", "1", "ReLU")
    assert (one.output_mean, one.output_std) == pytest.approx((hidden.mean(), hidden.std()), rel=1e-6)
    assert one.zeros == 0
    assert relu.zeros == np.mean(rectified == 0) == 0.5  # -1 and, twice, a negative sum
    assert (one.dead, relu.dead, two.dead) == (1 / 3, 1 / 3, 0)
    assert one.gradient_norm == pytest.approx(np.linalg.norm(dhidden), rel=1e-5)
    assert two.gradient_norm == pytest.approx(np.linalg.norm(dscores), rel=1e-5)
    assert one.weight_norm == pytest.approx(2.0)
    assert one.weight_gradient_norm == pytest.approx(np.linalg.norm(dhidden.T @ x), rel=1e-5)
    assert one.update_ratio == pytest.approx(np.linalg.norm(dhidden.T @ x) / 2, rel=1e-5)
    assert (relu.weight_norm, relu.update_ratio) == (None, None)
    assert report.as_dict()["layers"][1]["dead"] == 1 / 3
    table = str(report).splitlines()
    assert table[0].split() == [
        *("layer", "type", "mean", "std", "zeros", "dead", "saturated", "gradient", "of", "last", "weights", "dw/w")
    ]
    assert table[3].split()[:7] == [
        "1",
        "ReLU",
        f"{relu.output_mean:.3g}",
        f"{relu.output_std:.3g}",
        "50.0",
        "%",
        "33.3",
    ]


def test_channels_are_the_units_of_images_and_features_those_of_sequences() -> None:
    gpunn.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 10))
    with gpunn.no_grad():
        model[0].bias.copy_(gpunn.tensor([-100.0, 1.0, 1.0, 1.0]))
    x = np.random.Generator(np.random.Philox(1)).normal(size=(8, 1, 6, 6)).astype(np.float32)
    report = layer_health(model, (x, np.arange(8)))
    assert row(report, "0").dead == row(report, "1").dead == 1 / 4

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.relu, self.outer = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)

        def forward(self, x):
            return self.outer(self.relu(self.inner(x))).mean(1)

    sequence = Sequence()
    with gpunn.no_grad():
        sequence.inner.bias.copy_(gpunn.tensor([-100.0, 50.0, 50.0, 50.0]))
    report = layer_health(sequence, (np.ones((2, 5, 3), np.float32), np.array([0, 1])))
    assert row(report, "inner").dead == row(report, "relu").dead == 1 / 4


def test_a_dead_unit_is_seen_without_a_layer_for_the_activation() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.fc2(F.relu(self.fc1(x)))

    gpunn.manual_seed(2)
    model = Net()
    with gpunn.no_grad():
        model.fc1.bias.copy_(gpunn.tensor([-50.0] * 4 + [5.0] * 2))
    report = layer_health(model, batch(8, 4, 3))
    assert row(report, "fc1").dead == 4 / 6
    assert row(report, "fc1").verdicts == ("dead",)


def test_in_place_layers_and_frozen_ones() -> None:
    gpunn.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3))
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    plain.load_state_dict(model.state_dict())
    assert layer_health(model, batch(8, 4, 3)) == layer_health(plain, batch(8, 4, 3))
    model[0].requires_grad_(False)
    first = row(layer_health(model, batch(8, 4, 3)), "0")
    assert first.weight_gradient_norm is None
    assert first.gradient_norm == row(layer_health(plain, batch(8, 4, 3)), "0").gradient_norm


def test_batches_are_added_up_as_if_they_were_one() -> None:
    gpunn.manual_seed(2)
    model = nn.Sequential(nn.Linear(_WIDTH, 16), nn.ReLU(), nn.Linear(16, 10))
    x, labels = batch(60)
    loader = DataLoader(TensorDataset(x + 1000, labels), 20)
    report = layer_health(model, loader, max_batches=3)
    whole = layer_health(model, (x + 1000, labels))
    assert report.images == whole.images == 60
    assert report.loss == pytest.approx(whole.loss)
    for some, one in zip(report.layers, whole.layers, strict=True):
        assert (some.output_mean, some.output_std) == pytest.approx((one.output_mean, one.output_std))
        assert (some.zeros, some.dead) == (one.zeros, one.dead)
        if one.weight_gradient_norm is not None:
            assert some.weight_gradient_norm == pytest.approx(one.weight_gradient_norm, rel=1e-4)
    assert layer_health(model, loader).images == 20
    # A unit that lives in one batch is not dead.
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with gpunn.no_grad():
        model[0].weight.copy_(gpunn.tensor([[1.0], [-1.0]]))
        model[0].bias.zero_()
    pairs = [(np.full((3, 1), v, np.float32), np.array([0, 1, 0])) for v in (1, -1)]
    assert row(layer_health(model, pairs), "1").dead == 0.5
    both = layer_health(model, pairs, max_batches=2)
    assert row(both, "1").dead == 0
    # The first layer gives (1, -1), then (-1, 1); the second rectifies that.
    assert (row(both, "0").output_mean, row(both, "0").output_std) == pytest.approx((0, 1))
    assert (row(both, "1").output_mean, row(both, "1").output_std) == pytest.approx((0.5, 0.5))
    norms = [row(layer_health(model, pair), "2").gradient_norm for pair in pairs]
    assert row(both, "2").gradient_norm == pytest.approx(np.sqrt(np.square(norms).mean()))
    # Batches with means of their own.
    shifted = [(np.full((3, 1), v, np.float32), np.array([0, 1, 0])) for v in (1, 5, 6)]
    found = row(layer_health(model, shifted, max_batches=3), "0")
    assert (found.output_mean, found.output_std) == pytest.approx((0, np.std([1, 5, 6, -1, -5, -6])))
    found = row(layer_health(model, shifted, max_batches=3), "1")
    assert (found.output_mean, found.output_std) == pytest.approx((2, np.std([1, 5, 6, 0, 0, 0])))


def test_a_layer_that_is_called_twice_is_one_row() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.fc(self.fc(x)))

    gpunn.manual_seed(1)
    model = Net()
    x, labels = batch(6, 4, 2)
    report = layer_health(model, (x, labels))
    assert [layer.name for layer in report.layers] == ["fc", "head"]
    once = model.fc(gpunn.tensor(x))
    both = np.concatenate([once.detach().numpy(), model.fc(once).detach().numpy()])
    assert row(report, "fc").output_mean == pytest.approx(both.mean(), rel=1e-5)


def test_numbers_that_are_not_finite() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with gpunn.no_grad():
        model[0].bias.fill_(float("inf"))
    report = layer_health(model, batch(8, 4, 3))
    assert "not finite" in row(report, "0").verdicts
    assert report.findings()[0].startswith("not finite: 0 (Linear)")
    assert "nan" in str(report)


def test_a_loss_without_gradient_says_nothing_of_dead_units() -> None:
    gpunn.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    report = layer_health(model, batch(8, 4, 3), lambda scores, labels: scores.sum() * 0)
    assert [layer.dead for layer in report.layers] == [None, None, None]
    assert report.healthy


# -- what it leaves behind --------------------------------------------------------------------------


class Odd(nn.Module):
    """Batch norm, dropout, and a dropout of the default generator."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(F.dropout(self.body(x), 0.2, self.training))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_model_is_as_before(where: str) -> None:
    gpunn.manual_seed(1)
    model = Odd().to(where)
    x, labels = (gpunn.tensor(v, device=where) for v in batch(12, 2, 3))
    nn.CrossEntropyLoss()(model(x), labels).backward()
    model.body[1].eval()  # frozen: it stays so
    gradients = [p.grad for p in model.parameters()]
    values = [g.numpy().copy() for g in gradients]
    state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    drawn = gpunn.random.default_generator().calls, model.body[3].generator.calls
    fused = nn.fused_pairs(model.body)
    report = layer_health(model, (x, labels))
    assert row(report, "body.3").zeros == row(report, "body.2").zeros, "without dropout"
    assert [p.grad for p in model.parameters()] == gradients
    for gradient, before in zip(gradients, values, strict=True):
        np.testing.assert_array_equal(gradient.numpy(), before)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name], err_msg=name)
    assert (gpunn.random.default_generator().calls, model.body[3].generator.calls) == drawn
    assert nn.fused_pairs(model.body) == fused != [], "no hook is left"
    assert [m.training for m in model.body] == [True, False, True, True]
    model.eval()
    layer_health(model, (x, labels))
    assert not any(m.training for m in model.modules())


def test_batch_norm_is_seen_as_in_training() -> None:
    gpunn.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()
    x, labels = batch(32, 4, 3)
    found = row(layer_health(model, (1000 * x + 5, labels)), "1")
    assert (found.output_mean, found.output_std) == pytest.approx((0, 1), abs=1e-3)
    model.train()[1].eval()  # frozen: it uses its running statistics, which are 0 and 1
    found = row(layer_health(model, (1000 * x + 5, labels)), "1")
    assert found.output_std > 100


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_run_with_the_check_is_the_run_without(where: str, capsys) -> None:
    x, labels = batch(24, 2, 3)
    weights = []
    for check in (None, HealthCheck((x[:10], labels[:10]))):
        gpunn.manual_seed(5)
        model = Odd()
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
        trainer = Trainer(model, optimizer, device=where, log=None, callbacks=[check] if check else [])
        trainer.fit(DataLoader(TensorDataset(x, labels), 8, shuffle=True), epochs=3)
        weights.append({name: t.numpy() for name, t in model.state_dict().items()})
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name], err_msg=name)
    assert [epoch for epoch, _ in check.reports] == [0, 1, 2, 3]


# -- the callback -----------------------------------------------------------------------------------


def test_the_callback_tells_what_is_new(capsys) -> None:
    class Breaks(nn.Module):
        """Its first layer dies after the second epoch, and lives again after the third."""

        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.relu, self.fc2 = nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 3)

        def forward(self, x):
            return self.fc2(self.relu(self.fc1(x)))

    class Kill(gpunn.train.Callback):
        def on_epoch_end(self, trainer, record):
            with gpunn.no_grad():
                trainer.model.fc1.bias.fill_(-100.0 if record.epoch in (2, 3) else 1.0)

    gpunn.manual_seed(1)
    x, labels = batch(12, 2, 3)
    model = Breaks()
    check = HealthCheck(DataLoader(TensorDataset(x, labels), 12))
    trainer = Trainer(model, SGD(model.parameters(), 1e-4), device="cpu", log=None, callbacks=[Kill(), check])
    trainer.fit(DataLoader(TensorDataset(x, labels), 12), epochs=5)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["health after epoch 2", " vanishing gradients"],
        ["health after epoch 2", " dead"],
        ["health after epoch 4", " no layer stands out any more"],
    ]
    quiet = HealthCheck((x, labels), every=2, log=False)
    Trainer(model, SGD(model.parameters(), 1e-4), device="cpu", log=None, callbacks=[quiet]).fit(
        DataLoader(TensorDataset(x, labels), 12), epochs=5
    )
    assert capsys.readouterr().out == ""
    assert [epoch for epoch, _ in quiet.reports] == [0, 2, 4]


# -- refusals ---------------------------------------------------------------------------------------


def test_refusals() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    x, labels = batch(6, 4, 3)
    with pytest.raises(UsageError, match="the model has no parameters"):
        layer_health(nn.Sequential(nn.ReLU()), (x, labels))
    with pytest.raises(UsageError, match=r"expected \(images, labels\) or a loader; got ndarray"):
        layer_health(model, x)
    with pytest.raises(UsageError, match="the loader gave no batch"):
        layer_health(model, [])
    with pytest.raises(UsageError, match=r"pairs of tensors \(images, labels\); got Tensor"):
        layer_health(model, [gpunn.tensor(x), gpunn.tensor(x), gpunn.tensor(x)])
    with pytest.raises(UsageError, match="max_batches: expected a whole number of at least 1; got 0"):
        layer_health(model, (x, labels), max_batches=0)
    with pytest.raises(UsageError, match="every: expected a whole number of at least 1; got True"):
        HealthCheck((x, labels), every=True)
    with pytest.raises(UsageError, match="the loss depends on no parameter"):
        layer_health(model, (x, labels), lambda scores, labels: scores.detach().sum())
    assert model[0].weight.grad is None
    assert model[0]._forward_hooks == {}


def test_refused_in_a_captured_step(kernels: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3)).to(kernels)
    x, labels = (gpunn.tensor(v, device=kernels) for v in batch(6, 4, 3))

    def step(x: gpunn.Tensor) -> None:
        layer_health(model, (x, labels))

    captured = gpunn.capture(step)
    captured(x)
    with pytest.raises(CaptureError, match="layer_health"):
        captured(x)
