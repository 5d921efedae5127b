"""binary_cross_entropy against PyTorch, known answers, the ends 0 and 1, weights, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._device import device
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.binary_cross_entropy import binary_cross_entropy
from tests.ops import losses


def weight_for(case: dict[str, Any], form: str) -> np.ndarray | None:
    """None, one of the input's shape, or one that broadcasts to it."""
    shape = case["arrays"]["input"].shape
    if form == "none":
        return None
    if form == "row":
        shape = shape[1:]
    elif form == "column":
        shape = tuple(1 if axis else n for axis, n in enumerate(shape))
    return np.asarray(case["rng"].random(shape), case["dtype"])


FORMS = st.sampled_from(["none", "full", "row", "column"])


def compare(case: dict[str, Any], form: str, where: str) -> None:
    case["arrays"]["weight"] = weight_for(case, form)
    # The target's gradient is a difference of two logarithms of order one, over the number of elements for the mean.
    count = case["arrays"]["input"].size if case["reduction"] == "mean" else 1
    losses.compare_with_torch("binary_cross_entropy", case, 1 / count, where)


@given(losses.cases("input", "target", uniform=True), FORMS)
@settings(max_examples=150, deadline=None)
def test_matches_torch(case: dict[str, Any], form: str) -> None:
    compare(case, form, "cpu")


@given(losses.cases("input", "target", uniform=True), FORMS)
@settings(max_examples=20, deadline=None)
def test_matches_torch_with_kernels(kernels: str, case: dict[str, Any], form: str) -> None:
    compare(case, form, kernels)


def test_known_answers() -> None:
    p = gpunn.tensor(np.array([0.8, 0.8, 0.5]), requires_grad=True)
    loss = binary_cross_entropy(p, gpunn.tensor(np.array([1.0, 0.0, 0.5])), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), -np.log([0.8, 0.2, 0.5]), rtol=1e-15)
    loss.sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), [-1.25, 5.0, 0.0], rtol=1e-15)


def test_certainty_costs_at_most_100() -> None:
    """As PyTorch, the target's gradient apart: PyTorch's is infinite here, this one is the loss's own."""
    p = gpunn.tensor([0.0, 0.0, 1.0, 1.0], requires_grad=True)
    t = gpunn.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = binary_cross_entropy(p, t, reduction="none")
    assert loss.tolist() == [0, 100, 100, 0]
    loss.sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), [0, -1e12, 1e12, 0])
    assert t.grad.tolist() == [100, 100, -100, -100]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck_of_both(reduction: str) -> None:
    rng = np.random.Generator(np.random.Philox(2))
    p, t = (gpunn.tensor(rng.uniform(0.1, 0.9, (3, 4, 2, 1)), requires_grad=True) for _ in range(2))
    weight = gpunn.tensor(rng.random((4, 1, 1)))
    assert gradcheck(lambda a, b: binary_cross_entropy(a, b, weight, reduction=reduction), [p, t])


def test_nan_gives_nan() -> None:
    loss = binary_cross_entropy(gpunn.tensor([np.nan, 0.5]), gpunn.tensor([1.0, np.nan]), reduction="none")
    assert np.isnan(loss.numpy()).all()


def test_nothing() -> None:
    losses.check_empty(binary_cross_entropy)


def test_large() -> None:
    losses.check_blocks(binary_cross_entropy, lambda p, t: -(t * np.log(p) + (1 - t) * np.log1p(-p)), uniform=True)


def test_refuses() -> None:
    losses.check_refusals("binary_cross_entropy", binary_cross_entropy)
    losses.check_saved(binary_cross_entropy)
    half = gpunn.tensor([0.5, 0.5])
    for outside in (-0.1, 1.5, np.inf):
        with pytest.raises(UsageError, match=r"expected probabilities from 0 to 1; got some outside.*with_logits"):
            binary_cross_entropy(gpunn.tensor([0.5, outside]), half)
        with pytest.raises(UsageError, match=r"target: expected probabilities from 0 to 1; got some outside"):
            binary_cross_entropy(half, gpunn.tensor([outside, 0.5]))
    with pytest.raises(
        ShapeError, match=r"weight: expected a shape that broadcasts to the input's, \(2,\); got \(3,\)"
    ):
        binary_cross_entropy(half, half, gpunn.ones(3))
    with pytest.raises(ShapeError, match=r"got \(2, 2\)"):
        binary_cross_entropy(half, half, gpunn.ones(2, 2))
    with pytest.raises(UsageError, match=r"weight: expected a constant.*weight.detach\(\)"):
        binary_cross_entropy(half, half, gpunn.ones(2, requires_grad=True))
    with pytest.raises(DTypeError, match="weight: expected the input's dtype, float32; got int64"):
        binary_cross_entropy(half, half, gpunn.arange(2))


@pytest.mark.parametrize("outside", [-0.25, 1.5, np.inf])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_kernel_reports_what_is_no_probability(kernels: str, outside: float, reduction: str) -> None:
    """No look at the values on the way: parameters stay as they are, and whoever looks next is told."""
    layer = gpunn.nn.Linear(1, 1).to(kernels)
    before = layer.weight.detach().numpy().copy()
    optimizer = gpunn.optim.SGD(layer.parameters(), lr=0.1)
    p = gpunn.tensor([[0.5], [outside], [np.nan]], device=kernels) + 0 * layer(gpunn.ones(3, 1, device=kernels))
    loss = binary_cross_entropy(p, gpunn.ones(3, 1, device=kernels), reduction=reduction)
    loss.backward(None if reduction == "mean" else gpunn.ones(3, 1, device=kernels))
    optimizer.step()
    with pytest.raises(UsageError, match=rf"^binary_cross_entropy: input: .* got {outside}; parameters .* not changed"):
        device(kernels).synchronize()
    device(kernels).synchronize()  # told once
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before)


@pytest.mark.parametrize("outside", [-0.25, 1.5, np.inf])
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_kernel_reports_a_target_that_is_no_probability(kernels: str, outside: float, reduction: str) -> None:
    target = gpunn.tensor([0.0, 1.0, np.nan, outside], device=kernels)
    binary_cross_entropy(gpunn.full((4,), 0.5, device=kernels), target, reduction=reduction)
    with pytest.raises(UsageError, match=rf"^binary_cross_entropy: target: expected probabilities .* got {outside};"):
        device(kernels).synchronize()
    device(kernels).synchronize()  # told once


def test_kernel_takes_the_ends_and_nan(kernels: str) -> None:
    p = gpunn.tensor([0.0, 1.0, np.nan, 0.5], device=kernels)
    loss = binary_cross_entropy(p, gpunn.tensor([1.0, 0.0, 1.0, np.nan], device=kernels), reduction="none")
    np.testing.assert_array_equal(loss.numpy(), np.array([100, 100, np.nan, np.nan], np.float32))


def test_refuses_two_devices(kernels: str) -> None:
    losses.check_two_devices(binary_cross_entropy, kernels)
