"""hardtanh and relu6 against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.hardtanh import hardtanh, relu6
from tests.devices import EVERYWHERE
from tests.ops import activations

LIMITS = ((-1.0, 1.0), (0.0, 6.0), (-0.5, 2.0), (1.0, 1.0))
KINKS = (-1.0, 0.0, 1.0, 6.0, 2.0, -0.5)


def _compare(x: np.ndarray, limits: tuple[float, float], where: str) -> None:
    activations.compare(
        lambda x: hardtanh(x, *limits), lambda torch, x: torch.nn.functional.hardtanh(x, *limits), x, where
    )


@given(activations.arrays(kinks=KINKS), st.sampled_from(LIMITS))
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray, limits: tuple[float, float]) -> None:
    _compare(x, limits, "cpu")


@given(activations.arrays(kinks=KINKS), st.sampled_from(LIMITS))
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray, limits: tuple[float, float]) -> None:
    _compare(x, limits, kernels)


@given(activations.arrays(kinks=KINKS))
@settings(max_examples=30, deadline=None)
def test_relu6_matches_torch(x: np.ndarray) -> None:
    activations.compare(relu6, lambda torch, x: torch.nn.functional.relu6(x), x, "cpu")


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out_and_special(where: str) -> None:
    activations.compare_far(hardtanh, lambda torch, x: torch.nn.functional.hardtanh(x), where)
    activations.compare_far(relu6, lambda torch, x: torch.nn.functional.relu6(x), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_gradient_at_the_limits_is_zero(where: str) -> None:
    assert [activations.gradient_at(relu6, x, where) for x in (-1, 0, 3, 6, 7)] == [0, 0, 1, 0, 0]


def test_infinite_gradient_stays_out_of_closed_units() -> None:
    x = gpunn.tensor(np.array([-2.0, 0.5], np.float32), requires_grad=True)
    hardtanh(x).backward(gpunn.tensor(np.array([np.inf, 2.0], np.float32)))
    assert x.grad.tolist() == [0, 2]


def test_gradcheck() -> None:
    activations.check_gradient(hardtanh, (-1.0, 1.0))
    activations.check_gradient(relu6, (0.0, 6.0))


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(hardtanh)


@pytest.mark.parametrize(
    ("limits", "message"),
    [((1, -1), "expected min_val to be at most max_val; got 1.0 and -1.0"), ((np.nan, 1), "min_val: expected a num")],
)
def test_refuses_limits(limits: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=f"hardtanh: {message}"):
        hardtanh(gpunn.ones(2), *limits)


@pytest.mark.parametrize("op", [hardtanh, relu6])
def test_refuses_integers(op) -> None:
    with pytest.raises(DTypeError, match=f"{op.__name__}: expected a floating dtype; got int64"):
        op(gpunn.arange(3))
