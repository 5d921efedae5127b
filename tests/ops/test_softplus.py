"""softplus against PyTorch, and where log(1 + exp(x)) overflows or loses its digits."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.softplus import softplus
from tests.devices import EVERYWHERE
from tests.ops import activations

# Low thresholds, so that the numbers drawn lie on both sides of them.
SETTINGS = ((1.0, 20.0), (1.0, 2.0), (3.0, 4.0), (0.2, 20.0), (1.0, -1.0), (-1.5, 1.0))


def _compare(x: np.ndarray, how: tuple[float, float], where: str) -> None:
    activations.compare(lambda x: softplus(x, *how), lambda torch, x: torch.nn.functional.softplus(x, *how), x, where)


@given(activations.arrays(), st.sampled_from(SETTINGS))
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray, how: tuple[float, float]) -> None:
    _compare(x, how, "cpu")


@given(activations.arrays(), st.sampled_from(SETTINGS))
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray, how: tuple[float, float]) -> None:
    _compare(x, how, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("how", SETTINGS)
def test_far_out_and_special(where: str, how: tuple[float, float]) -> None:
    ours = functools.partial(softplus, beta=how[0], threshold=how[1])
    activations.compare_far(ours, lambda torch, x: torch.nn.functional.softplus(x, *how), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_does_not_overflow_below_a_high_threshold(where: str) -> None:
    x = gpunn.tensor(np.array([-1e4, -15, 1e4], np.float32), device=where)
    y = softplus(x, 1, 1e6).numpy()
    # Float32 digits of the smallest; 1e4 and 0 are exact.
    np.testing.assert_allclose(y, [0, np.log1p(np.exp(-15.0)), 1e4], rtol=5e-7)
    assert activations.gradient_at(functools.partial(softplus, threshold=1e6), 1e4, where) == 1


def test_gradcheck() -> None:
    activations.check_gradient(softplus)
    activations.check_gradient(lambda x: softplus(x, 2.5, 50))


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(softplus)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"beta": 0}, "beta: expected a number other than 0"),
        ({"beta": np.inf}, "beta: expected a finite number"),
        ({"threshold": np.nan}, "threshold: expected a finite number"),
    ],
)
def test_refuses(how: dict, message: str) -> None:
    with pytest.raises(UsageError, match=f"softplus: {message}"):
        softplus(gpunn.ones(2), **how)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="softplus: expected a floating dtype; got int64"):
        softplus(gpunn.arange(3))


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("beta", [3e38, -3e38, 1e30, 1e-30, 7.0])
def test_beta_times_x_may_overflow(where: str, beta: float) -> None:
    parity = pytest.importorskip("tests.parity")
    values = np.array([-3e38, -2.0, -1e-3, 0.0, 1e-3, 2.0, 3e38], np.float32)
    x, other = gpunn.tensor(values, device=where, requires_grad=True), parity.torch.tensor(values, requires_grad=True)
    y, expected = softplus(x, beta), parity.torch.nn.functional.softplus(other, beta)
    y.sum().backward()
    expected.sum().backward()
    # exp and log1p of two libraries, a division and a sum
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), rtol=1e-6)
