"""Stability and saturation: what the lectures say of gradients through many layers, and of units that stop learning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.nn.utils import clip_grad_norm_
from gpunn.optim import SGD
from gpunn.train import HealthCheck, HealthReport, Trainer, layer_health

_WIDTH, _DEPTH = 32, 10


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(3))
    return rng.normal(size=(100, _WIDTH)).astype(np.float32), np.arange(100) % 10


def deep(
    activation: Callable[[], nn.Module], start: Callable[[gpunn.Tensor], object], normalised: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(_DEPTH):
        layer = nn.Linear(_WIDTH, _WIDTH, bias=False)
        start(layer.weight)
        layers += [layer, *([nn.BatchNorm1d(_WIDTH)] if normalised else []), activation()]
    return nn.Sequential(*layers, nn.Linear(_WIDTH, 10))


def flow(report: HealthReport) -> list[float]:
    """The gradient's norm at each linear layer's output, as a multiple of the last one's."""
    return [layer.gradient_of_last or 0.0 for layer in report.layers if layer.kind == "Linear"]


def verdicts(report: HealthReport) -> set[str]:
    return {verdict for layer in report.layers for verdict in layer.verdicts}


def test_T8_gradients_vanish_through_sigmoids_and_not_through_relus_or_with_batch_norm() -> None:
    sigmoids = layer_health(deep(nn.Sigmoid, nn.init.xavier_normal_), batch())
    # Ten factors of at most a quarter each.
    assert flow(sigmoids)[0] < 4.0**-_DEPTH * 10
    assert verdicts(sigmoids) == {"vanishing"}
    assert flow(layer_health(deep(nn.ReLU, nn.init.kaiming_normal_), batch()))[0] > 0.1
    normalised = layer_health(deep(nn.Sigmoid, nn.init.xavier_normal_, normalised=True), batch())
    assert verdicts(normalised) == set()
    assert flow(normalised)[0] > 1000 * flow(sigmoids)[0]


def test_T8_gradients_explode_with_large_weights_and_clipping_limits_the_step() -> None:
    model = deep(nn.ReLU, lambda weight: nn.init.normal_(weight, 0, 1.0))
    report = layer_health(model, batch())
    assert flow(report)[0] > 1e3
    assert verdicts(report) == {"exploding"}
    x, labels = (gpunn.tensor(values) for values in batch())
    nn.CrossEntropyLoss()(model(x), labels).backward()
    before = clip_grad_norm_(model.parameters(), 1.0).item()
    assert before > 1e3
    after = np.sqrt(sum(np.square(p.grad.numpy()).sum() for p in model.parameters()))
    assert after == pytest.approx(1, rel=1e-3)


def test_T9_saturated_sigmoids_and_tanhs_stop_the_gradient() -> None:
    for activation in (nn.Tanh, nn.Sigmoid):
        shares = []
        for std in (0.02, 1.0, 5.0):
            gpunn.manual_seed(0)
            model = nn.Sequential(nn.Linear(_WIDTH, 64), activation(), nn.Linear(64, 10))
            nn.init.normal_(model[0].weight, 0, std)
            report = layer_health(model, batch())
            row = report.layers[1]
            shares.append((row.saturated, report.layers[0].gradient_norm / row.gradient_norm))
        saturated, passed = zip(*shares, strict=True)
        assert sorted(saturated) == list(saturated)
        assert saturated[0] < 0.01
        assert saturated[2] > 0.8
        assert sorted(passed, reverse=True) == list(passed), "the more is saturated, the less passes"
        assert report.layers[1].verdicts == ("saturated",)


def test_T9_a_learning_rate_that_is_too_high_kills_relus_for_good() -> None:
    x, labels = np.random.Generator(np.random.Philox(3)).random((100, _WIDTH), np.float32), batch()[1]
    data = DataLoader(TensorDataset(x, labels), 20)
    dead = []
    for lr in (0.01, 10.0):
        gpunn.manual_seed(0)
        model = nn.Sequential(nn.Linear(_WIDTH, 64), nn.ReLU(), nn.Linear(64, 10))
        check = HealthCheck((x, labels), log=False)
        Trainer(model, SGD(model.parameters(), lr), device="cpu", log=None, callbacks=[check]).fit(data, epochs=2)
        dead.append([report.layers[1].dead for _, report in check.reports])
    assert dead[0][0] == dead[1][0] < 0.1
    assert dead[0][2] < 0.1
    assert dead[1][2] > 0.9
    assert "dead" in verdicts(check.reports[-1][1])
    # No gradient reaches them any more, so no smaller rate brings them back.
    Trainer(model, SGD(model.parameters(), 0.01), device="cpu", log=None).fit(data, epochs=2)
    assert layer_health(model, (x, labels)).layers[1].dead >= dead[1][2]
