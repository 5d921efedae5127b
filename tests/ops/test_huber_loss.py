"""huber_loss against PyTorch, known answers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import UsageError
from gpunn.ops.huber_loss import huber_loss
from tests.ops import losses


@given(losses.cases("input", "target"), st.sampled_from([0.3, 1.0, 2.5]))
@settings(max_examples=100, deadline=None)
def test_matches_torch(case: dict[str, Any], delta: float) -> None:
    losses.compare_with_torch("huber_loss", case, delta=delta)


@given(losses.cases("input", "target"), st.sampled_from([0.3, 1.0, 2.5]))
@settings(max_examples=15, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any], delta: float) -> None:
    losses.compare_with_torch("huber_loss", case, where=kernels, delta=delta)


@pytest.mark.parametrize(
    ("z", "delta", "loss", "slope"), [(0.5, 1.0, 0.125, 0.5), (-3.0, 2.0, 4.0, -2.0), (2.0, 2.0, 2.0, 2.0)]
)
def test_known_answers(z: float, delta: float, loss: float, slope: float) -> None:
    x = gpunn.tensor([z], requires_grad=True)
    got = huber_loss(x, gpunn.zeros(1), "mean", delta)
    got.backward()
    assert (got.item(), x.grad.item()) == (loss, slope)


def test_gradcheck_of_both() -> None:
    x = gpunn.tensor(np.linspace(-3, 3, 14).reshape(7, 2), requires_grad=True)  # none at ±0.7, the edge, or 0
    t = gpunn.zeros(7, 2, dtype=np.float64, requires_grad=True)
    assert gradcheck(lambda a, b: huber_loss(a, b, delta=0.7), [x, t])


def test_nothing() -> None:
    losses.check_empty(huber_loss)


def test_refuses() -> None:
    losses.check_refusals("huber_loss", huber_loss)
    losses.check_saved(huber_loss)
    for delta in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(UsageError, match="delta: expected a finite number of more than 0"):
            huber_loss(gpunn.ones(1), gpunn.ones(1), delta=delta)


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(huber_loss, kernels)
