"""mse_loss against PyTorch, known answers, half_mean, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError
from gpunn.gpu.elementwise_loss import SOURCE
from gpunn.ops.mse_loss import mse_loss
from tests.ops import losses


@given(losses.cases("input", "target"))
@settings(max_examples=150, deadline=None)
def test_matches_torch(case: dict[str, Any]) -> None:
    losses.compare_with_torch("mse_loss", case)


@given(losses.cases("input", "target"))
@settings(max_examples=15, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any]) -> None:
    losses.compare_with_torch("mse_loss", case, where=kernels)


@pytest.mark.parametrize(
    ("shape", "reduction", "expected"),
    [
        ((2, 3), "mean", 4.0),
        ((2, 3), "sum", 24.0),
        ((2, 3), "half_mean", 6.0),
        ((6,), "half_mean", 2.0),
        ((), "half_mean", 2.0),
        ((2, 3, 2, 1), "half_mean", 12.0),
    ],
)
def test_known_answers(shape: tuple[int, ...], reduction: str, expected: float) -> None:
    z = gpunn.tensor(np.full(shape, 3.0), requires_grad=True)
    loss = mse_loss(z, gpunn.tensor(np.ones(shape)), reduction=reduction)
    assert loss.item() == expected
    loss.backward()
    # Every term's part of the loss is (z - 1)^2 s, of the gradient 2 (z - 1) s: here the same, as z - 1 = 2.
    np.testing.assert_allclose(z.grad.numpy(), np.full(shape, expected / max(math.prod(shape), 1)), rtol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "half_mean"])
def test_gradcheck_of_both(reduction: str) -> None:
    pair = [gpunn.randn(3, 2, 2, 3, dtype=np.float64, requires_grad=True) for _ in range(2)]
    assert gradcheck(lambda x, t: mse_loss(x, t, reduction=reduction), pair)


def test_special_values() -> None:
    x = gpunn.tensor(np.array([np.nan, np.inf, -np.inf, 1.0], np.float32), requires_grad=True)
    loss = mse_loss(x, gpunn.zeros(4), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), np.array([np.nan, np.inf, np.inf, 1], np.float32))
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.array([np.nan, np.inf, -np.inf, 2], np.float32))


def test_nothing() -> None:
    losses.check_empty(mse_loss)
    assert np.isnan(mse_loss(gpunn.zeros(0, 3), gpunn.zeros(0, 3), reduction="half_mean").item())


def test_large() -> None:
    losses.check_blocks(mse_loss, lambda a, b: (a - b) ** 2)


def test_a_total_of_more_parts_than_threads(kernels: str) -> None:
    """65 parts by 32 threads; with all 256 it would take half a million elements."""
    target, parts = device(kernels), np.arange(65.0)
    total = target.empty((), np.float32)
    args = (total, target.array(parts), len(parts), 4.0)
    SOURCE.launch(target, "loss_total", (1, 1, 1), 32, args, REAL="float", VEC=1, LOSS="SQUARED")
    assert target.to_host(total) == parts.sum() / 4


def test_refuses() -> None:
    losses.check_refusals("mse_loss", mse_loss)
    losses.check_saved(mse_loss)
    with pytest.raises(ShapeError, match="Nothing is broadcast"):
        mse_loss(gpunn.zeros(3, 1), gpunn.zeros(1, 1))


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(mse_loss, kernels)
