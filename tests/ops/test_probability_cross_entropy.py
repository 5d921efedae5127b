"""probability_cross_entropy: its clamp, its gradient, PyTorch's composition, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import LabelError, ShapeError
from gpunn.ops.probability_cross_entropy import probability_cross_entropy
from gpunn.ops.softmax import softmax
from tests.devices import EVERYWHERE
from tests.ops.losses import TOLERANCE
from tests.ops.test_nll_loss import class_cases


def compare_with_torch(case: dict[str, Any], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    p = 0.05 + np.abs(case["x"])
    how = {"ignore_index": case["ignore_index"], "reduction": case["reduction"]}

    def theirs(p: Any, weight: Any) -> Any:
        return parity.torch.nn.functional.nll_loss(
            p.contiguous().log(), parity.torch.tensor(case["target"]), weight, **how
        )

    labels = gpunn.tensor(case["target"].astype(case["label"]), device=where)
    parity.compare(
        lambda p, weight: probability_cross_entropy(p, labels, weight, **how),
        theirs,
        {"p": p, "weight": case["weight"]},
        where,
        3 * TOLERANCE[p.dtype],
        ("weight",),
    )


@given(class_cases())
@settings(max_examples=100, deadline=None)
def test_is_the_negative_log_likelihood_of_the_logarithm(case: dict[str, Any]) -> None:
    compare_with_torch(case, "cpu")


@given(class_cases())
@settings(max_examples=20, deadline=None)
def test_is_that_with_kernels(kernels: str, case: dict[str, Any]) -> None:
    compare_with_torch(case, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clamp(dtype: Any, where: str) -> None:
    """At the smallest normal number: above it log and -1/p are themselves, below they stay what they are there."""
    tiny = np.finfo(dtype).tiny
    values = np.array([0, tiny / 8, tiny, 4 * tiny, 1], dtype)
    p = gpunn.tensor(np.stack([values, 0 * values], axis=1), device=where, requires_grad=True)
    loss = probability_cross_entropy(p, gpunn.tensor(np.zeros(5, np.int64), device=where), reduction="none")
    clamped = np.maximum(values, tiny)
    np.testing.assert_allclose(loss.detach().numpy(), -np.log(clamped), rtol=1e-6)
    loss.backward(gpunn.ones(5, dtype=dtype, device=where))
    np.testing.assert_allclose(p.grad.numpy()[:, 0], -1 / clamped, rtol=1e-6)
    assert not p.grad.numpy()[:, 1].any()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("factor", [1.0, 1e6, -1e30])
def test_gradient_is_finite_whatever_the_loss_is_multiplied_by(factor: float, where: str) -> None:
    p = gpunn.tensor([[0.0, 1.0], [1.0, 0.0]], device=where, requires_grad=True)
    (probability_cross_entropy(p, gpunn.tensor([0, 1], device=where), reduction="sum") * factor).backward()
    assert np.isfinite(p.grad.numpy()).all()


def test_gradient_through_softmax_is_finite_for_a_heavy_loss() -> None:
    """0 times an infinite gradient would be NaN."""
    x = gpunn.tensor([[1e4, -1e4], [0.0, 200.0]], requires_grad=True)
    (probability_cross_entropy(softmax(x, 1), gpunn.tensor([1, 0]), reduction="sum") * 1e6).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_nan_and_infinity() -> None:
    p = gpunn.tensor(np.array([[np.nan, np.inf]] * 2, np.float32), requires_grad=True)
    loss = probability_cross_entropy(p, gpunn.tensor([0, 1]), reduction="none")
    np.testing.assert_array_equal(loss.detach().numpy(), np.array([np.nan, -np.inf], np.float32))
    loss.sum().backward()
    np.testing.assert_array_equal(p.grad.numpy(), np.array([[np.nan, 0], [0, 0]], np.float32))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(reduction: str) -> None:
    p = gpunn.tensor(np.random.Generator(np.random.Philox(0)).uniform(0.1, 0.9, (4, 3)), requires_grad=True)
    target = gpunn.tensor([2, 0, -100, 1])
    assert gradcheck(lambda a: probability_cross_entropy(a, target, reduction=reduction), p)


def test_refuses() -> None:
    p = gpunn.ones(2, 3)
    with pytest.raises(LabelError, match=r"^probability_cross_entropy: label 3 at position 1"):
        probability_cross_entropy(p, gpunn.tensor([0, 3]))
    with pytest.raises(ShapeError, match=r"^probability_cross_entropy: expected for input"):
        probability_cross_entropy(p, p)
