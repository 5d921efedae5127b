"""Perceptrons, logistic neurons and what one unit cannot learn (lecture T1, T2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import ShapeError, UsageError
from gpunn.models import Perceptron

_CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
_AND, _OR, _XOR = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0])


def _unit(weights: tuple[float, ...]) -> Perceptron:
    unit = Perceptron(len(weights) - 1).double()
    unit.load_state_dict({"weight": np.array([weights[:-1]], np.float64), "bias": np.array(weights[-1:], np.float64)})
    return unit


def _weights(unit: Perceptron) -> list[float]:
    return [*unit.weight.tolist()[0], *unit.bias.tolist()]


def test_T1_perceptron_rule_worked_example() -> None:
    unit = _unit((1, 2, -1))
    x = gpunn.tensor(np.array([[0, 1], [1, 0], [2, 1], [1, 2]], np.float64))
    labels = gpunn.tensor([0, 0, 1, 1])
    unit.fit(x[:1], labels[:1], epochs=1)
    assert _weights(unit) == [1, 1, -2]
    unit = _unit((1, 2, -1))
    fit = unit.fit(x, labels)
    assert fit.mistakes == [1, 0]
    assert fit.converged
    assert _weights(unit) == [1, 1, -2]
    assert unit(x).tolist() == [0, 0, 1, 1]


def test_T1_starts_from_zero() -> None:
    assert _weights(Perceptron(3)) == [0, 0, 0, 0]


def test_T1_does_not_converge_on_xor() -> None:
    unit = Perceptron(2)
    fit = unit.fit(gpunn.tensor(_CORNERS), gpunn.tensor(_XOR), epochs=50)
    assert not fit.converged
    assert fit.epochs == 50
    assert min(fit.mistakes) >= 1


def test_T2_logistic_neuron_decides_as_a_perceptron_with_its_weights() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    neuron = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    unit = Perceptron(3)
    unit.load_state_dict(neuron[0].state_dict())
    x = gpunn.tensor(rng.standard_normal((200, 3)).astype(np.float32))
    probabilities = neuron(x).detach().numpy().reshape(-1)
    np.testing.assert_array_equal(unit(x).numpy(), probabilities >= 0.5)
    assert 0 < unit(x).sum().item() < 200


def test_T2_logistic_neuron_is_logistic_regression() -> None:
    """Its gradient is that of logistic regression, X^T (p - y) / N, and descent ends at the same optimum."""
    rng = np.random.Generator(np.random.Philox(6))
    X, y = rng.standard_normal((80, 2)), rng.integers(0, 2, 80).astype(np.float64)
    layer = nn.Linear(2, 1).double()
    p = 1 / (1 + np.exp(-(X @ layer.weight.detach().numpy()[0] + layer.bias.item())))
    nn.BCELoss()(gpunn.sigmoid(layer(gpunn.tensor(X))).reshape(-1), gpunn.tensor(y)).backward()
    np.testing.assert_allclose(layer.weight.grad.numpy()[0], X.T @ (p - y) / 80, rtol=1e-10)
    np.testing.assert_allclose(layer.bias.grad.numpy(), [(p - y).mean()], rtol=1e-10)
    linear_model = pytest.importorskip("sklearn.linear_model")
    solved = linear_model.LogisticRegression(C=np.inf, tol=1e-10).fit(X, y)
    optimizer, loss = optim.SGD(layer.parameters(), lr=2.0), nn.BCEWithLogitsLoss()
    for _ in range(300):
        optimizer.zero_grad()
        loss(layer(gpunn.tensor(X)).reshape(-1), gpunn.tensor(y)).backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), solved.coef_, atol=1e-4)
    np.testing.assert_allclose(layer.bias.detach().numpy(), solved.intercept_, atol=1e-4)


@pytest.mark.parametrize(("name", "labels"), [("AND", _AND), ("OR", _OR)])
def test_T2_one_neuron_learns(name: str, labels: np.ndarray) -> None:
    unit = Perceptron(2)
    assert unit.fit(gpunn.tensor(_CORNERS), gpunn.tensor(labels)).converged
    assert unit(gpunn.tensor(_CORNERS).float()).tolist() == labels.tolist()
    assert _correct(_train(nn.Linear(2, 1), _CORNERS, labels), _CORNERS, labels) == 4


def test_T2_one_neuron_learns_NOT() -> None:
    x, labels = np.array([[0.0], [1.0]]), np.array([1, 0])
    unit = Perceptron(1)
    assert unit.fit(gpunn.tensor(x), gpunn.tensor(labels)).converged
    assert unit(gpunn.tensor(x).float()).tolist() == [1, 0]
    assert _correct(_train(nn.Linear(1, 1), x, labels), x, labels) == 2


_NEURONS: dict[str, Callable[[], nn.Module]] = {
    "logistic": lambda: nn.Linear(2, 1),
    "relu": lambda: nn.Sequential(nn.Linear(2, 1), nn.ReLU()),
    "tanh": lambda: nn.Sequential(nn.Linear(2, 1), nn.Tanh()),
}


@pytest.mark.parametrize("kind", sorted(_NEURONS))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_T2_no_single_neuron_learns_xor(kind: str, seed: int) -> None:
    """At any threshold on its output: a line leaves at least one corner on the wrong side."""
    gpunn.manual_seed(seed)
    net = _train(_NEURONS[kind](), _CORNERS, _XOR)
    scores = net(gpunn.tensor(_CORNERS)).detach().numpy().reshape(-1)
    best = max(int(((scores >= t) == _XOR).sum()) for t in [*scores, np.inf])
    assert best <= 3


def test_T2_two_layers_learn_xor() -> None:
    gpunn.manual_seed(0)
    net = _train(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), _CORNERS, _XOR)
    assert _correct(net, _CORNERS, _XOR) == 4


def test_T2_stacked_linear_layers_are_one() -> None:
    first, second = nn.Linear(5, 7).double(), nn.Linear(7, 3).double()
    W1, b1, W2, b2 = (p.detach().numpy() for p in (first.weight, first.bias, second.weight, second.bias))
    x = np.random.Generator(np.random.Philox(7)).standard_normal((9, 5))
    both = second(first(gpunn.tensor(x))).detach().numpy()
    np.testing.assert_allclose(both, x @ (W2 @ W1).T + (W2 @ b1 + b2), rtol=0, atol=1e-14)


def test_refuses() -> None:
    unit = Perceptron(2)
    with pytest.raises(ShapeError, match=r"expected x \(N, 2\); got \(1, 3\)"):
        unit(gpunn.ones(1, 3))
    with pytest.raises(ShapeError, match="expected x"):
        unit.fit(gpunn.ones(4, 2), gpunn.tensor([0, 1]))
    with pytest.raises(UsageError, match="labels 0 and 1"):
        unit.fit(gpunn.ones(1, 2), gpunn.tensor([2]))
    with pytest.raises(UsageError, match="at least 1"):
        unit.fit(gpunn.ones(1, 2), gpunn.tensor([1]), epochs=0)


def _train(net: nn.Module, x: np.ndarray, labels: np.ndarray) -> nn.Module:
    net.double()
    optimizer, loss = optim.SGD(net.parameters(), lr=0.5, momentum=0.9), nn.BCEWithLogitsLoss()
    target = gpunn.tensor(labels.astype(np.float64))
    for _ in range(300):
        optimizer.zero_grad()
        loss(net(gpunn.tensor(x)).reshape(-1), target).backward()
        optimizer.step()
    return net


def _correct(net: nn.Module, x: np.ndarray, labels: np.ndarray) -> int:
    scores = net(gpunn.tensor(x)).detach().numpy().reshape(-1)
    return int(((scores >= 0) == labels).sum())
