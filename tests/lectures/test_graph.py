"""Computational graphs, backpropagation and what networks are wired from: COVERAGE G1, G3 to G7, L1, L6, L9."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import GraphError
from gpunn.nn import functional as F
from gpunn.primitive import count_bodies


def leaf(values: object) -> gpunn.Tensor:
    return gpunn.tensor(np.array(values, np.float64), requires_grad=True)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def test_G1_derivatives_of_a_composed_function() -> None:
    a, b, c = leaf(5.0), leaf(3.0), leaf(2.0)
    u = b * c
    u.retain_grad()
    v = a + u
    (3.0 * v).backward()
    assert a.grad.item() == 3.0
    assert u.grad.item() == 3.0
    assert b.grad.item() == 3.0 * c.item()
    assert c.grad.item() == 3.0 * b.item()


def _calls_in_backward(layers: int) -> int:
    model = nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(4, 4), nn.Sigmoid())))
    x = gpunn.randn(3, 4)
    loss = model(x).sum()
    with count_bodies() as counts:
        loss.backward()
    return sum(counts.values())


def test_G1_cost_of_backward_is_linear_in_the_layers() -> None:
    calls = {n: _calls_in_backward(n) for n in (10, 25, 50)}
    each, rest = divmod(calls[50] - calls[25], 25)
    assert rest == 0
    assert calls[25] - calls[10] == 15 * each
    assert each <= 5  # bias, two products, the activation
    # A layer used twice by the next one has 2^50 paths to the input, and still one call each.
    x = y = leaf(1.0)
    with count_bodies() as forward:
        for _ in range(50):
            y = y * y.detach() + y
    with count_bodies() as counts:
        y.backward()
    assert sum(counts.values()) <= 3 * sum(forward.values())
    assert x.grad is not None


def test_G3_sigmoid_unit_with_binary_cross_entropy() -> None:
    w, x = leaf([1.0, 2.0]), gpunn.tensor(np.array([1.0, -1.0]))
    z = (w * x).sum()
    prediction = z.sigmoid()
    prediction.retain_grad()
    loss = -prediction.log()  # the truth is 1
    loss.backward()
    assert z.item() == -1.0
    assert f"{loss.item():.7f}" == "1.3132617"
    assert f"{prediction.grad.item():.7f}" == "-3.7182818"
    assert [f"{g:.7f}" for g in w.grad.tolist()] == ["-0.7310586", "0.7310586"]
    again = leaf([1.0, 2.0])
    same = F.binary_cross_entropy((again * x).sum().sigmoid(), gpunn.tensor(np.array(1.0)))
    same.backward()
    assert f"{same.item():.7f}" == "1.3132617"
    np.testing.assert_allclose(again.grad.numpy(), w.grad.numpy(), rtol=1e-14)


def test_G4_relu_unit_with_square_loss() -> None:
    w, x = leaf([1.0, -2.0]), gpunn.tensor(np.array([1.0, -1.0]))
    z = (w * x).sum()
    loss = (z.relu() - 1.0) ** 2
    loss.backward()
    assert (z.item(), loss.item()) == (3.0, 4.0)
    assert w.grad.tolist() == [4.0, -4.0]


def test_G5_gradient_of_a_batch_is_the_mean_of_its_samples() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(np.float64)
    x, labels = gpunn.tensor(normal(1, 7, 6)), np.array([0, 1, 2, 2, 1, 0, 0])
    criterion = nn.CrossEntropyLoss()
    criterion(model(x), gpunn.tensor(labels)).backward()
    batch = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    for i in range(7):  # .grad adds up
        criterion(model(gpunn.tensor(x.numpy()[i : i + 1])), gpunn.tensor(labels[i : i + 1])).backward()
    for whole, p in zip(batch, model.parameters(), strict=True):
        # Seven numbers of order one, added in another order.
        np.testing.assert_allclose(whole, p.grad.numpy() / 7, rtol=0, atol=1e-15)


def test_G6_chain_rule() -> None:
    x = leaf(1.0)
    g = x**3 + 2 * x
    (2 * g**2 - 3 * g + 1).backward()
    assert x.grad.item() == 45.0

    for value in np.linspace(-3, 3, 25):
        x = leaf(value)
        g1, g2 = 3 * x, x**2 + 2 * x
        (2 * g1**2 - 3 * g1 * g2 + 1).backward()
        # Terms of up to 600 cancel to 27 x^2.
        np.testing.assert_allclose(x.grad.item(), -27 * value**2, rtol=0, atol=1e-12)


def test_G7_recursion_of_deltas() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.Sigmoid(), nn.Linear(7, 6), nn.Sigmoid(), nn.Linear(6, 4)).to(np.float64)
    batch, truth = normal(2, 3, 5), normal(3, 3, 4)
    weights = [p.detach().numpy() for p in model.parameters()][0::2]
    biases = [p.detach().numpy() for p in model.parameters()][1::2]

    # By hand, samples in rows: forward values kept ...
    activations, slopes = [batch], []
    for number, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = activations[-1] @ w.T + b
        sigma = 1 / (1 + np.exp(-z))
        activations.append(sigma if number < 2 else z)
        slopes.append(sigma * (1 - sigma))
    # ... and used once on the way back: delta(l) = (W' delta(l+1)) * f'(z(l)), dJ/dW = delta a'.
    delta = activations[-1] - truth
    expected: list[np.ndarray] = []
    for number in (2, 1, 0):
        expected = [delta.T @ activations[number], delta.sum(0), *expected]
        if number:
            delta = (delta @ weights[number]) * slopes[number - 1]

    loss = 0.5 * ((model(gpunn.tensor(batch)) - gpunn.tensor(truth)) ** 2).sum()
    with count_bodies() as counts:
        loss.backward()
    for p, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), gradient, rtol=1e-12, atol=1e-14)
    ran = {name: sum(n for (found, _), n in counts.items() if found == name) for name, _ in counts}
    assert ran["linear_backward"] == 3  # once for each layer
    assert ran["sigmoid_backward"] == 2
    assert not [name for name in ran if name.endswith("_forward")]  # nothing is computed again
    with pytest.raises(GraphError, match="freed"):  # nor used twice
        loss.backward()


def test_L1_fully_connected() -> None:
    x, w, b = leaf(normal(1, 3, 4)), leaf(normal(2, 5, 4)), leaf(normal(3, 5))
    assert gpunn.gradcheck(F.linear, (x, w, b))
    y, dy = F.linear(x, w, b), normal(4, 3, 5)
    np.testing.assert_allclose(y.detach().numpy(), x.detach().numpy() @ w.detach().numpy().T + b.detach().numpy())
    y.backward(gpunn.tensor(dy))
    np.testing.assert_allclose(w.grad.numpy(), dy.T @ x.detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), dy @ w.detach().numpy())
    np.testing.assert_allclose(b.grad.numpy(), dy.sum(0))


def test_L1_parameters_of_10_10_5_1() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))
    summary = nn.summarize(model, (10,))
    assert [layer.parameters for layer in summary.layers if layer.parameters] == [110, 55, 6]
    assert summary.parameters == 110 + 55 + 6 == 171


def test_L6_branches_concatenation_residual_gate_and_two_losses() -> None:
    sizes = {"stem": (6, 4), "left": (3, 6), "right": (3, 6), "gate": (6, 6), "head": (2, 6), "early": (1, 6)}
    tensors = {name: leaf(0.5 * normal(number, *size)) for number, (name, size) in enumerate(sizes.items())}
    x = leaf(normal(9, 5, 4))
    target, early_target = gpunn.tensor(normal(10, 5, 2)), gpunn.tensor(normal(11, 5, 1))

    def net(x: gpunn.Tensor, *weights: gpunn.Tensor) -> gpunn.Tensor:
        stem, left, right, gate, head, early = weights
        trunk = F.linear(x, stem).tanh()
        branches = gpunn.cat([F.linear(trunk, left).sigmoid(), F.linear(trunk, right).tanh()], 1)
        added = trunk + branches
        gated = added * F.linear(trunk, gate).sigmoid()
        on_top = ((F.linear(gated, head) - target) ** 2).mean()
        below = ((F.linear(trunk, early) - early_target) ** 2).mean()
        return on_top + 0.3 * below

    inputs = (x, *tensors.values())
    assert gpunn.gradcheck(net, inputs)
    # Two losses walked one after the other give the gradients of their sum.
    net(*inputs).backward()
    assert all(t.grad is not None and t.grad.abs().max().item() > 0 for t in inputs)


def test_L6_losses_at_different_layers_add_up() -> None:
    w: Any = leaf(normal(1, 3, 3))
    x = gpunn.tensor(normal(2, 4, 3))

    def losses() -> tuple[gpunn.Tensor, gpunn.Tensor]:
        hidden = F.linear(x, w).tanh()
        return (hidden**2).mean(), (F.linear(hidden, w) ** 2).mean()

    first, second = losses()
    (first + second).backward()
    together = w.grad.numpy().copy()
    w.grad = None
    first, second = losses()
    first.backward(retain_graph=True)
    second.backward()
    np.testing.assert_allclose(w.grad.numpy(), together, rtol=1e-14)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_L9_dropout_keeps_the_mean_and_its_mask(p: float) -> None:
    x = gpunn.ones(1_000_000, requires_grad=True)
    y = F.dropout(x, p)
    values = y.detach().numpy()
    kept = values != 0
    np.testing.assert_array_equal(values[kept], np.float32(1 / (1 - p)))
    # Each element has variance p / (1 - p); four standard errors of a mean of 1e6.
    assert abs(values.mean(dtype=np.float64) - 1) < 4 * (p / (1 - p)) ** 0.5 / 1000
    y.backward(gpunn.full((1_000_000,), 3.0))
    np.testing.assert_array_equal(x.grad.numpy(), np.float32(3) * values)


def test_L9_dropout_of_nothing_of_everything_and_at_test_time() -> None:
    for p, factor in ((0.0, 1.0), (1.0, 0.0)):
        x = gpunn.randn(4, 5, requires_grad=True)
        y = nn.Dropout(p)(x)
        y.sum().backward()
        np.testing.assert_array_equal(y.detach().numpy(), factor * x.detach().numpy())
        np.testing.assert_array_equal(x.grad.numpy(), np.full((4, 5), factor, np.float32))
    x = gpunn.randn(4, 5)
    assert gpunn.equal(nn.Dropout(0.5).eval()(x), x)
