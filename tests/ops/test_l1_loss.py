"""l1_loss against PyTorch, known answers, ties and NaN, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.ops.l1_loss import l1_loss
from tests.ops import losses


def compare(case: dict[str, Any], where: str) -> None:
    given = case["arrays"]
    if given["input"].size > 2:
        given["target"][given["input"] > 0.5] = 0.75
        given["input"][given["input"] > 0.5] = 0.75  # equal elements: gradient 0
    losses.compare_with_torch("l1_loss", case, where=where)


@given(losses.cases("input", "target"))
@settings(max_examples=100, deadline=None)
def test_matches_torch(case: dict[str, Any]) -> None:
    compare(case, "cpu")


@given(losses.cases("input", "target"))
@settings(max_examples=15, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any]) -> None:
    compare(case, kernels)


def test_known_answer() -> None:
    x = gpunn.tensor([1.0, -2.0, 3.0, 0.0], requires_grad=True)
    t = gpunn.tensor([0.0, 0.0, 3.0, 2.0], requires_grad=True)
    loss = l1_loss(x, t)
    loss.backward()
    assert loss.item() == 1.25
    assert x.grad.tolist() == [0.25, -0.25, 0, -0.25]
    assert t.grad.tolist() == [-0.25, 0.25, 0, 0.25]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck_of_both(reduction: str) -> None:
    x = gpunn.randn(3, 2, 2, 3, dtype=np.float64, requires_grad=True)
    t = (x.detach() + gpunn.tensor(np.where(np.arange(36) % 2, 1.0, -1.0).reshape(x.shape))).requires_grad_()
    assert gradcheck(lambda a, b: l1_loss(a, b, reduction=reduction), [x, t])


def test_special_values() -> None:
    """A gradient of 0 for NaN is PyTorch's; the loss shows the NaN."""
    x = gpunn.tensor(np.array([np.nan, np.inf, -np.inf, 0.0], np.float32), requires_grad=True)
    loss = l1_loss(x, gpunn.zeros(4), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), np.array([np.nan, np.inf, np.inf, 0], np.float32))
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.array([0, 1, -1, 0], np.float32))


def test_nothing() -> None:
    losses.check_empty(l1_loss)


def test_large() -> None:
    losses.check_blocks(l1_loss, lambda a, b: np.abs(a - b))


def test_refuses() -> None:
    losses.check_refusals("l1_loss", l1_loss)
    losses.check_saved(l1_loss)


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(l1_loss, kernels)
