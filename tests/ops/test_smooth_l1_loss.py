"""smooth_l1_loss against PyTorch, known answers, the edge, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import UsageError
from gpunn.ops.smooth_l1_loss import smooth_l1_loss
from tests.ops import losses


@given(losses.cases("input", "target"), st.sampled_from([0.0, 0.3, 1.0, 2.5]))
@settings(max_examples=150, deadline=None)
def test_matches_torch(case: dict[str, Any], beta: float) -> None:
    losses.compare_with_torch("smooth_l1_loss", case, beta=beta)


@given(losses.cases("input", "target"), st.sampled_from([0.0, 0.3, 1.0, 2.5]))
@settings(max_examples=15, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any], beta: float) -> None:
    losses.compare_with_torch("smooth_l1_loss", case, where=kernels, beta=beta)


@pytest.mark.parametrize(
    ("z", "beta", "loss", "slope"),
    [(0.5, 1.0, 0.125, 0.5), (-3.0, 1.0, 2.5, -1.0), (1.0, 1.0, 0.5, 1.0), (1.0, 2.0, 0.25, 0.5), (0.0, 0.0, 0.0, 0.0)],
)
def test_known_answers(z: float, beta: float, loss: float, slope: float) -> None:
    x = gpunn.tensor([z], requires_grad=True)
    got = smooth_l1_loss(x, gpunn.zeros(1), beta=beta)
    got.backward()
    assert (got.item(), x.grad.item()) == (loss, slope)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck_of_both(reduction: str) -> None:
    x = gpunn.tensor(np.linspace(-3, 3, 14).reshape(7, 2), requires_grad=True)  # none at ±0.5, the edge, or 0
    t = gpunn.zeros(7, 2, dtype=np.float64, requires_grad=True)
    assert gradcheck(lambda a, b: smooth_l1_loss(a, b, reduction=reduction, beta=0.5), [x, t])


def test_special_values() -> None:
    x = gpunn.tensor(np.array([np.nan, np.inf, -np.inf, 0.0], np.float32), requires_grad=True)
    loss = smooth_l1_loss(x, gpunn.zeros(4), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), np.array([np.nan, np.inf, np.inf, 0], np.float32))
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.array([np.nan, 1, -1, 0], np.float32))


def test_nothing() -> None:
    losses.check_empty(smooth_l1_loss)


def test_large() -> None:
    losses.check_blocks(smooth_l1_loss, lambda a, b: np.where(np.abs(a - b) < 1, (a - b) ** 2 / 2, np.abs(a - b) - 0.5))


def test_refuses() -> None:
    losses.check_refusals("smooth_l1_loss", smooth_l1_loss)
    losses.check_saved(smooth_l1_loss)
    for beta in (-1.0, np.nan):
        with pytest.raises(UsageError, match="beta: expected a number of at least 0"):
            smooth_l1_loss(gpunn.ones(1), gpunn.ones(1), beta=beta)


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(smooth_l1_loss, kernels)
