"""binary_cross_entropy_with_logits against PyTorch, known answers, extreme scores, weights, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError, UsageError
from gpunn.ops.binary_cross_entropy import binary_cross_entropy
from gpunn.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from tests.devices import EVERYWHERE
from tests.ops import losses
from tests.ops.test_binary_cross_entropy import FORMS, weight_for


def compare(case: dict[str, Any], form: str, pos_form: str, where: str) -> None:
    given = case["arrays"]
    given["input"] = case["dtype"].type(8) * given["input"] - case["dtype"].type(4)
    given["weight"], given["pos_weight"] = weight_for(case, form), weight_for(case, pos_form)
    # PyTorch subtracts numbers of the size of the scores, up to 4, from each other.
    losses.compare_with_torch("binary_cross_entropy_with_logits", case, 4, where)


@given(losses.cases("input", "target", uniform=True), FORMS, FORMS)
@settings(max_examples=200, deadline=None)
def test_matches_torch(case: dict[str, Any], form: str, pos_form: str) -> None:
    compare(case, form, pos_form, "cpu")


@given(losses.cases("input", "target", uniform=True), FORMS, FORMS)
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any], form: str, pos_form: str) -> None:
    compare(case, form, pos_form, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_scores_are_exact(dtype: Any, where: str) -> None:
    x = gpunn.tensor(np.array([1e4, 1e4, -1e4, -1e4, 0], dtype), device=where, requires_grad=True)
    target = gpunn.tensor(np.array([1, 0, 1, 0, 1], dtype), device=where)
    loss = binary_cross_entropy_with_logits(x, target, reduction="none")
    expected = np.array([0, 1e4, 1e4, 0, np.log(2)], dtype)
    np.testing.assert_array_equal(loss.detach().numpy(), expected)
    loss.sum().backward()
    assert x.grad.tolist() == [0, 1, -1, 0, -0.5]


def test_nothing_is_lost_where_the_loss_is_small() -> None:
    """log(1 + exp(-20)) is 2e-9; the difference of two numbers near 20 would be 0 in float32."""
    loss = binary_cross_entropy_with_logits(gpunn.tensor([-20.0, 20.0]), gpunn.tensor([0.0, 1.0]), reduction="none")
    np.testing.assert_allclose(loss.numpy(), np.log1p(np.exp(-20.0)), rtol=1e-6)


def test_is_sigmoid_and_binary_cross_entropy() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    x, t = rng.standard_normal(20), gpunn.tensor(rng.random(20))
    composed = binary_cross_entropy(gpunn.tensor(1 / (1 + np.exp(-x))), t)
    assert binary_cross_entropy_with_logits(gpunn.tensor(x), t).item() == pytest.approx(composed.item(), rel=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradcheck_of_both(reduction: str, weighted: bool) -> None:
    rng = np.random.Generator(np.random.Philox(2))
    x, t = (gpunn.tensor(rng.uniform(-2, 2, (3, 4, 2, 1)), requires_grad=True) for _ in range(2))
    how: dict[str, Any] = {
        "weight": gpunn.tensor(rng.random((4, 1, 1))),
        "pos_weight": gpunn.tensor(rng.random((2, 1))),
    }
    assert gradcheck(
        lambda a, b: binary_cross_entropy_with_logits(a, b, **(how if weighted else {}), reduction=reduction), [x, t]
    )


def test_special_values() -> None:
    """As PyTorch where the target is 0 or NaN is about; the infinite loss of (-inf, 1) is NaN there."""
    x = np.array([np.nan, np.inf, np.inf, -np.inf, 0], np.float32)
    loss = binary_cross_entropy_with_logits(
        gpunn.tensor(x), gpunn.tensor(np.array([1, 0, 1, 1, np.nan], np.float32)), reduction="none"
    )
    np.testing.assert_array_equal(loss.numpy(), np.array([np.nan, np.inf, np.nan, np.inf, np.nan], np.float32))


def test_nothing() -> None:
    losses.check_empty(binary_cross_entropy_with_logits)


def test_large() -> None:
    losses.check_blocks(
        binary_cross_entropy_with_logits, lambda x, t: (1 - t) * np.log1p(np.exp(x)) + t * np.log1p(np.exp(-x))
    )


def test_refuses() -> None:
    losses.check_refusals("binary_cross_entropy_with_logits", binary_cross_entropy_with_logits)
    losses.check_saved(binary_cross_entropy_with_logits)
    x = gpunn.ones(4, 2)
    with pytest.raises(ShapeError, match=r"pos_weight: expected a shape that broadcasts.*\(4, 2\); got \(4,\)"):
        binary_cross_entropy_with_logits(x, x, pos_weight=gpunn.ones(4))
    with pytest.raises(UsageError, match="pos_weight: expected a constant"):
        binary_cross_entropy_with_logits(x, x, pos_weight=gpunn.ones(2, requires_grad=True))


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(binary_cross_entropy_with_logits, kernels)
