"""elu against PyTorch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.elu import elu
from tests.devices import EVERYWHERE
from tests.ops import activations

ALPHAS = (1.0, 0.3, 2.0, 0.0)


def _compare(x: np.ndarray, alpha: float, where: str) -> None:
    activations.compare(lambda x: elu(x, alpha), lambda torch, x: torch.nn.functional.elu(x, alpha), x, where)


@given(activations.arrays(), st.sampled_from(ALPHAS))
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray, alpha: float) -> None:
    _compare(x, alpha, "cpu")


@given(activations.arrays(), st.sampled_from(ALPHAS))
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray, alpha: float) -> None:
    _compare(x, alpha, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_far_out_and_special(where: str, alpha: float) -> None:
    ours = functools.partial(elu, alpha=alpha)
    activations.compare_far(ours, lambda torch, x: torch.nn.functional.elu(x, alpha), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_small_numbers_keep_their_digits(where: str) -> None:
    """exp(x) - 1 would leave one digit of 1e-7 in float32."""
    x = np.array([-1e-7, -1e-5], np.float32)
    expected = np.expm1(x.astype(np.float64))
    # A few roundings of float32.
    np.testing.assert_allclose(elu(gpunn.tensor(x, device=where)).numpy(), expected, rtol=5e-7)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_gradient_at_zero_is_alpha(where: str) -> None:
    ours = functools.partial(elu, alpha=0.5)
    assert [activations.gradient_at(ours, x, where) for x in (0.0, -0.0, 1)] == [0.5, 0.5, 1]


def test_gradcheck() -> None:
    activations.check_gradient(lambda x: elu(x, 0.7), (0.0,))


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(elu)


@pytest.mark.parametrize(("alpha", "message"), [(-1.0, "at least 0"), (np.nan, "a finite number")])
def test_refuses_alpha(alpha: float, message: str) -> None:
    with pytest.raises(UsageError, match=f"elu: alpha: expected .*{message}"):
        elu(gpunn.ones(2), alpha)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="elu: expected a floating dtype; got int64"):
        elu(gpunn.arange(3))
