"""Lecture topics T3, T4, T5: descent with momentum and L2, adaptive methods, learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.data import DataLoader, TensorDataset
from gpunn.optim import lr_scheduler
from tests.devices import EVERYWHERE

_LAMBDA = 0.25


# -- T3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
def test_T3_l2_gradient_is_mean_delta_plus_lambda_theta_for_weights_and_mean_delta_for_biases(where: str) -> None:
    """One step of descent with learning rate 1 subtracts the gradient itself."""
    rng = np.random.Generator(np.random.Philox(1))
    n, x, y = 6, rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    net = nn.Linear(3, 2).to(where)
    for p, shape in ((net.weight, (2, 3)), (net.bias, (2,))):
        p.data.copy_(rng.standard_normal(shape))
    weight, bias = (p.detach().numpy().astype(np.float64) for p in (net.weight, net.bias))
    optimizer = optim.SGD(optim.decay_groups(net, _LAMBDA), lr=1.0)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [_LAMBDA, 0]
    d = net(gpunn.tensor(x.astype(np.float32), device=where)) - gpunn.tensor(y.astype(np.float32), device=where)
    ((d * d).sum() * (0.5 / n)).backward()
    optimizer.step()
    # Δ: the sum over the examples of the gradients of half the squared error.
    error = x @ weight.T + bias - y
    delta_weight, delta_bias = error.T @ x, error.sum(axis=0)
    # float32: a few roundings of numbers of order one.
    np.testing.assert_allclose(
        weight - net.weight.detach().numpy(), delta_weight / n + _LAMBDA * weight, rtol=0, atol=2e-6
    )
    np.testing.assert_allclose(bias - net.bias.detach().numpy(), delta_bias / n, rtol=0, atol=2e-6)


def test_T3_the_penalty_is_reported_on_request() -> None:
    """(λ/2)‖W‖² of the weights: (0.25 / 2) (1 + 4 + 9 + 16) = 3.75, whatever the bias."""
    net = nn.Linear(2, 2)
    net.weight.data.copy_(np.array([[1, 2], [3, 4]], np.float32))
    net.bias.data.fill_(100)
    optimizer = optim.SGD(optim.decay_groups(net, _LAMBDA), lr=0.1)
    assert optim.l2_penalty(optimizer) == pytest.approx(3.75, rel=1e-6)
    assert optim.l2_penalty(optim.SGD(optim.decay_groups(net, 0.0), lr=0.1)) == 0


@pytest.mark.parametrize(("momentum", "nesterov", "expected"), [(0.9, False, (0.8, 0.46)), (0.8, True, (0.64, 0.2816))])
def test_T3_momentum_and_nesterov(momentum: float, nesterov: bool, expected: tuple[float, float]) -> None:
    """Two steps on J = p² from 1 with learning rate 0.1.

    Momentum 0.9: p = 1 - 0.1 * 2 = 0.8; m = 0.9 * 2 + 1.6 = 3.4, p = 0.8 - 0.34 = 0.46.
    Nesterov with momentum 0.8: p = 1 - 0.1 (2 + 0.8 * 2) = 0.64; m = 1.6 + 1.28 = 2.88,
    p = 0.64 - 0.1 (1.28 + 0.8 * 2.88) = 0.2816.
    """
    p = gpunn.ones(1, dtype=np.float64, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=momentum, nesterov=nesterov)
    seen = []
    for _ in range(2):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
        seen.append(p.item())
    assert seen == pytest.approx(expected, abs=1e-15)


def test_T3_mini_batches_are_another_partition_of_all_examples_in_every_epoch() -> None:
    """Stochastic descent over shuffled epochs fits a line; each epoch's batches hold every example once."""
    x = np.linspace(-1, 1, 20, dtype=np.float32)
    data = TensorDataset(x[:, None], (3 * x + 1)[:, None])
    loader = DataLoader(data, batch_size=5, shuffle=True)
    net = nn.Linear(1, 1)
    optimizer, orders = optim.SGD(net.parameters(), lr=0.1, momentum=0.5), []
    for _ in range(60):
        order = []
        for images, targets in loader:
            order += images.numpy().ravel().tolist()
            optimizer.zero_grad()
            d = net(images) - targets
            (d * d).mean().backward()
            optimizer.step()
        orders.append(tuple(order))
    assert all(sorted(order) == pytest.approx(sorted(x.tolist())) for order in orders)
    assert len(set(orders)) == 60
    # The line goes through all points, so noise vanishes with the error.
    assert (net.weight.item(), net.bias.item()) == pytest.approx((3, 1), abs=1e-3)


# -- T4 -------------------------------------------------------------------------------------------

# The lecture's formulas with plain numbers: (state, gradient, step) -> what is subtracted.
Rule = Callable[[dict[str, float], float, int], float]


def _adagrad(s: dict[str, float], g: float, t: int) -> float:
    s["r"] = s.get("r", 0) + g * g
    return 0.1 * g / (math.sqrt(s["r"]) + 1e-10)


def _rmsprop(s: dict[str, float], g: float, t: int) -> float:
    s["r"] = 0.9 * s.get("r", 0) + 0.1 * g * g
    return 0.1 * g / (math.sqrt(s["r"]) + 1e-8)


def _adam(s: dict[str, float], g: float, t: int) -> float:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    return 0.1 * (s["m"] / (1 - 0.9**t)) / (math.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda p: optim.Adagrad(p, lr=0.1), _adagrad),
        (lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9), _rmsprop),
        (lambda p: optim.Adam(p, lr=0.1), _adam),
        (lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.0), _adam),
    ],
)
def test_T4_adaptive_methods_follow_their_formulas(where: str, make: Any, rule: Rule) -> None:
    """Five steps on J = (p - 3)²; that every option follows PyTorch is in tests/optim/test_parity.py."""
    p = gpunn.ones(1, dtype=np.float64, device=where, requires_grad=True)
    optimizer, state, expected = make([p]), dict[str, float](), 1.0
    for t in range(1, 6):
        p.grad = gpunn.tensor(np.array([2 * (p.detach().item() - 3)]), device=where)
        optimizer.step()
        expected -= rule(state, 2 * (expected - 3), t)
        assert p.detach().item() == pytest.approx(expected, abs=1e-13)


def test_T4_adamw_shrinks_weights_apart_from_the_gradient() -> None:
    """With gradient 0 from 4: AdamW's 4 (1 - 0.1 * 0.5) = 3.8; in Adam the decay is a gradient: 4 - 0.1 = 3.9."""
    ends = []
    for kind in (optim.AdamW, optim.Adam):
        p = gpunn.tensor(np.array([4.0]), requires_grad=True)
        p.grad = gpunn.zeros(1, dtype=np.float64)
        kind([p], lr=0.1, weight_decay=0.5).step()
        ends.append(p.detach().item())
    # Adam's eps, 1e-8, beside a gradient of 2.
    assert ends == pytest.approx([3.8, 3.9], abs=1e-8)


def test_T4_lamb_equals_the_papers_update_on_a_worked_step() -> None:
    """w = (3, 4), g = (1, -1), first step, λ = 0: m̂ = g, v̂ = g², so r = (1, -1) up to ε; |w| / |r| = 5 / √2.

    w - 0.1 * 5 / √2 * (1, -1) = (3 - 0.35355, 4 + 0.35355).
    """
    p = gpunn.tensor(np.array([3.0, 4.0]), requires_grad=True)
    p.grad = gpunn.tensor(np.array([1.0, -1.0]))
    optim.LAMB([p], lr=0.1, eps=0.0, weight_decay=0.0).step()
    step = 0.1 * 5 / math.sqrt(2)
    np.testing.assert_allclose(p.detach().numpy(), [3 - step, 4 + step], rtol=0, atol=1e-14)


# -- T5 -------------------------------------------------------------------------------------------


def _curve(make: Callable[[Any], Any], steps: int, measure: Callable[[int], float] | None = None) -> list[float]:
    """The rates of ``steps`` steps, from 1.0 (SGD with momentum)."""
    p = gpunn.ones(1, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.9)
    schedule = make(optimizer)
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step() if measure is None else schedule.step(measure(step))
    return rates


def test_T5_step_and_exponential() -> None:
    assert _curve(lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5), 6) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert _curve(lambda o: lr_scheduler.ExponentialLR(o, 0.5), 5) == [1, 0.5, 0.25, 0.125, 0.0625]


def test_T5_cosine() -> None:
    """(1 + cos(π t / 4)) / 2."""
    root = math.sqrt(0.5)
    expected = [1, (1 + root) / 2, 0.5, (1 - root) / 2, 0]
    assert _curve(lambda o: lr_scheduler.CosineAnnealingLR(o, 4), 5) == pytest.approx(expected, abs=1e-15)


def test_T5_warm_up() -> None:
    """A quarter more in each step, then constant; and followed by another schedule."""
    warm = _curve(lambda o: lr_scheduler.LinearLR(o, start_factor=0.25, total_iters=3), 6)
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], abs=1e-15)

    def then_falling(o: Any) -> Any:
        parts = [lr_scheduler.LinearLR(o, 0.25, total_iters=3), lr_scheduler.ExponentialLR(o, 0.5)]
        return lr_scheduler.SequentialLR(o, parts, milestones=[3])

    assert _curve(then_falling, 6) == pytest.approx([0.25, 0.5, 0.75, 1, 0.5, 0.25], abs=1e-15)


def test_T5_one_cycle() -> None:
    """Rises from 1/25 to 1 in 3 of 10 steps and falls to 1/250000; momentum from 0.95 to 0.85 and back."""
    momenta = []

    def make(o: Any) -> Any:
        schedule = lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=10, anneal_strategy="linear")
        plain = schedule.step

        def step() -> None:
            momenta.append(o.param_groups[0]["momentum"])
            plain()

        schedule.step = step  # type: ignore[assignment]
        return schedule

    low, last = 1 / 25, 1 / 25e4
    expected = [low, (low + 1) / 2, 1] + [1 + (last - 1) * k / 7 for k in range(1, 8)]
    assert _curve(make, 10) == pytest.approx(expected, abs=1e-15)
    falling = [0.95, 0.9, 0.85]
    assert momenta == pytest.approx(falling + [0.85 + 0.1 * k / 7 for k in range(1, 8)], abs=1e-15)


def test_T5_plateau() -> None:
    """Losses 5, 4, 4, 4, 4, 3, …: the third step without improvement halves the rate."""
    losses = [5, 4, 4, 4, 4, 3, 3, 3, 3]
    rates = _curve(
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=2), 9, lambda step: float(losses[step])
    )
    assert rates == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    longer = _curve(
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=2), 10, lambda step: float([*losses, 3][step])
    )
    assert longer[-1] == 0.25
