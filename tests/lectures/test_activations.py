"""Activation functions (lecture topic L4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gpunn
from gpunn import gradcheck, nn
from gpunn.errors import GraphError
from gpunn.nn import functional as F

Function = Callable[[gpunn.Tensor], gpunn.Tensor]
# name -> the function and where it has kinks
FUNCTIONS: dict[str, tuple[Function, tuple[float, ...]]] = {
    "sigmoid": (F.sigmoid, ()),
    "tanh": (F.tanh, ()),
    "relu": (F.relu, (0,)),
    "leaky relu 0.1": (lambda x: F.leaky_relu(x, 0.1), (0,)),
    "leaky relu 0.01": (lambda x: F.leaky_relu(x, 0.01), (0,)),
    "elu": (lambda x: F.elu(x, 0.8), (0,)),
    "softplus": (F.softplus, ()),
    "absolute relu": (F.absolute_relu, (0,)),
    "gelu": (F.gelu, ()),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), ()),
    "silu": (F.silu, ()),
}


def _gradient_at(function: Function, x: float) -> float:
    t = gpunn.tensor([x], requires_grad=True)
    function(t).sum().backward()
    return t.grad.item()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_L4_gradcheck_away_from_kinks(name: str) -> None:
    function, kinks = FUNCTIONS[name]
    x = np.linspace(-4, 4, 81) + 0.003  # no nearer to a kink than 0.003, where central differences step 1e-6
    assert all(np.abs(x - kink).min() > 1e-3 for kink in kinks)
    assert gradcheck(function, gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("function", "gradient"),
    [
        (F.relu, 0),
        (lambda x: F.leaky_relu(x, 0.1), np.float32(0.1)),
        (F.leaky_relu, np.float32(0.01)),
        (lambda x: F.prelu(x, gpunn.tensor([0.3])), np.float32(0.3)),
        (F.elu, 1),
        (F.absolute_relu, 0),
        (F.sigmoid, 0.25),
        (F.tanh, 1),
        (F.softplus, 0.5),
        (F.gelu, 0.5),
        (F.silu, 0.5),
    ],
)
def test_L4_gradients_at_zero_are_pytorchs(function: Function, gradient: float) -> None:
    assert _gradient_at(function, 0.0) == gradient


@pytest.mark.parametrize("slope", [0.1, 0.01])
def test_L4_leaky_relu_slope_can_be_set(slope: float) -> None:
    x = gpunn.tensor([-2.0, 5.0])
    assert F.leaky_relu(x, slope).tolist() == [np.float32(-2) * np.float32(slope), 5]
    assert nn.LeakyReLU(slope)(x).tolist() == F.leaky_relu(x, slope).tolist()
    assert _gradient_at(lambda t: F.leaky_relu(t, slope), -3.0) == np.float32(slope)


def test_L4_prelu_slope_is_learned() -> None:
    """The gradient of alpha is the sum of 1(x < 0) x times the output's gradient; all gradients pass gradcheck."""
    rng = np.random.Generator(np.random.Philox(4))
    x, dy = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    alpha = gpunn.tensor(np.array([0.25]), requires_grad=True)
    F.prelu(gpunn.tensor(x), alpha).backward(gpunn.tensor(dy))
    # Thirty terms in another order.
    np.testing.assert_allclose(alpha.grad.item(), ((x < 0) * x * dy).sum(), rtol=1e-13)
    for slopes in (1, 5):
        weight = gpunn.tensor(rng.standard_normal(slopes), requires_grad=True)
        assert gradcheck(F.prelu, [gpunn.tensor(x, requires_grad=True), weight])
    assert [name for name, _ in nn.PReLU().named_parameters()] == ["weight"]


def test_L4_elu_and_softplus_values() -> None:
    x = gpunn.tensor(np.array([-1.0, 0.0, 2.0]))
    # float64 roundings of one or two operations.
    np.testing.assert_allclose(F.elu(x, 0.5).numpy(), [0.5 * (np.exp(-1) - 1), 0, 2], rtol=1e-14)
    np.testing.assert_allclose(F.softplus(x).numpy(), np.log(1 + np.exp([-1, 0, 2])), rtol=1e-14)
    assert F.absolute_relu(x).tolist() == [1, 0, 2]


def test_L4_maxout_over_k_pieces() -> None:
    x = gpunn.tensor([[1.0, 4.0, 2.0, -7.0, -5.0, -6.0]], requires_grad=True)
    assert F.maxout(x, 3).tolist() == [[4, -5]]
    assert F.maxout(x, 2).tolist() == [[4, 2, -5]]
    F.maxout(x, 3).sum().backward()
    assert x.grad.tolist() == [[0, 1, 0, 0, 1, 0]]
    rng = np.random.Generator(np.random.Philox(6))
    for k in (1, 2, 4):
        spread = gpunn.tensor(rng.permutation(2 * 8 * 3).reshape(2, 8, 3).astype(np.float64), requires_grad=True)
        assert gradcheck(lambda t, k=k: F.maxout(t, k, 1), spread)


def test_L4_step_function() -> None:
    z = gpunn.tensor([-1.0, -0.0, 0.0, 2.0], requires_grad=True)
    assert F.step(z).tolist() == [0, 1, 1, 1]
    assert F.step(z, strict=True).tolist() == [0, 0, 0, 1]
    with pytest.raises(GraphError, match="does not require a gradient"):
        F.step(z).sum().backward()
    assert "no gradient" in F.step.__doc__
