"""Lecture topics L2, L3 and L5: softmax and cross-entropy apart and in one, and the losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
import gpunn.nn.functional as F
from gpunn import nn


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _composed(x: np.ndarray, labels: np.ndarray, reduction: str = "mean") -> tuple[float, np.ndarray]:
    """Loss and gradient of the loss on probabilities after the softmax layer."""
    scores = gpunn.tensor(x, requires_grad=True)
    net = nn.Sequential(nn.Softmax(dim=1))
    loss = nn.ProbabilityCrossEntropyLoss(reduction=reduction)(net(scores), gpunn.tensor(labels))
    loss.backward()
    return loss.item(), scores.grad.numpy()


def test_L2_softmax_jacobian() -> None:
    """The full matrix, row by row: p_i (1 - p_j) on the diagonal, -p_i p_j off it."""
    scores = np.array([0.3, -1.2, 2.0, 0.0, 0.7])
    p = _softmax(scores)
    found = np.empty((5, 5))
    for i in range(5):
        x = gpunn.tensor(scores, requires_grad=True)
        y = nn.Softmax(dim=0)(x)
        y.backward(gpunn.tensor(np.eye(5)[i]))
        found[i] = x.grad.numpy()
    expected = np.array([[p[i] * (1 - p[j]) if i == j else -p[i] * p[j] for j in range(5)] for i in range(5)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-16)  # a rounding of numbers below 1/4
    np.testing.assert_allclose(y.detach().numpy(), p, rtol=1e-15)


def test_L2_loss_on_probabilities_alone() -> None:
    """-log p of the true class, with gradient -1/p there and 0 elsewhere."""
    p = gpunn.tensor(np.array([[0.2, 0.8], [0.5, 0.5]]), requires_grad=True)
    loss = F.probability_cross_entropy(p, gpunn.tensor([1, 0]), reduction="sum")
    loss.backward()
    assert loss.item() == pytest.approx(-np.log(0.8) - np.log(0.5), rel=1e-15)
    assert p.grad.tolist() == [[0, -1.25], [-2, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_L2_composed_gradient_is_p_minus_truth(dtype: Any) -> None:
    """Also where the true class's probability is small, 1e-30 in float32, yet well above underflow."""
    rng = np.random.Generator(np.random.Philox(1))
    x = (3 * rng.standard_normal((40, 10))).astype(dtype)
    x[::4, 0] -= 60 if dtype == np.float32 else 600
    labels = rng.integers(0, 10, 40)
    labels[::4] = 0
    _, gradient = _composed(x, labels, "sum")
    expected = _softmax(x.astype(np.float64))
    assert expected[::4, 0].max() < (1e-20 if dtype == np.float32 else 1e-200)
    expected[np.arange(40), labels] -= 1
    # p itself carries the rounding of the scores, up to 60 (600), in the exponent.
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-6 if dtype == np.float32 else 1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_L2_composed_is_finite_everywhere(dtype: Any) -> None:
    """Scores of ±1e4 underflow to a probability of 0."""
    x = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [0, 100, 0], [0, 104, 0], [0, 89, 0], [0, 746, 0]], dtype)
    for label in range(3):
        loss, gradient = _composed(x, np.full(6, label))
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() <= 1 / 6


def test_L2_nothing_is_fused_in_secret() -> None:
    """The composed loss stops at the smallest normal number, where the fused one goes on."""
    x, label = np.array([[0, 1e4]], np.float32), np.array([0])
    loss, gradient = _composed(x, label)
    assert loss == pytest.approx(-np.log(np.finfo(np.float32).tiny), rel=1e-7)
    assert gradient.tolist() == [[0, 0]]
    scores = gpunn.tensor(x, requires_grad=True)
    fused = nn.CrossEntropyLoss()(scores, gpunn.tensor(label))
    fused.backward()
    assert fused.item() == 1e4
    assert scores.grad.tolist() == [[-1, 1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("label", "expected"), [(0, 0.0), (1, 1e4), (2, 2e4)])
def test_L3_fused_is_exact_for_large_scores(dtype: Any, label: int, expected: float) -> None:
    scores = gpunn.tensor(np.array([[1e4, 0, -1e4]], dtype), requires_grad=True)
    loss = nn.CrossEntropyLoss()(scores, gpunn.tensor([label]))
    loss.backward()
    assert loss.item() == expected
    assert scores.grad.tolist() == [[float(c == 0) - float(c == label) for c in range(3)]]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_L3_fused_equals_composed(reduction: str) -> None:
    rng = np.random.Generator(np.random.Philox(2))
    x, labels = 3 * rng.standard_normal((30, 10)), rng.integers(0, 10, 30)
    loss, gradient = _composed(x, labels, reduction)
    scores = gpunn.tensor(x, requires_grad=True)
    fused = nn.CrossEntropyLoss(reduction=reduction)(scores, gpunn.tensor(labels))
    fused.backward()
    assert fused.item() == pytest.approx(loss, rel=1e-14)  # some roundings of float64
    np.testing.assert_allclose(scores.grad.numpy(), gradient, rtol=0, atol=1e-15)


def test_L3_p_of_0_8_costs_0_2231436() -> None:
    scores = gpunn.tensor(np.log(np.array([[0.2, 0.8]])), requires_grad=True)
    loss = nn.CrossEntropyLoss()(scores, gpunn.tensor([1]))
    loss.backward()
    assert round(loss.item(), 7) == 0.2231436
    np.testing.assert_allclose(scores.grad.numpy(), [[0.2, -0.2]], rtol=0, atol=1e-15)
    assert round(_composed(np.log(np.array([[0.2, 0.8]])), np.array([1]))[0], 7) == 0.2231436


def _pair(*shape: int) -> tuple[gpunn.Tensor, gpunn.Tensor, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(3))
    z, t = rng.standard_normal(shape), rng.standard_normal(shape)
    return gpunn.tensor(z, requires_grad=True), gpunn.tensor(t), z - t


def test_L5_squared_error_is_the_mean_over_elements() -> None:
    z, t, d = _pair(4, 3)
    loss = nn.MSELoss()(z, t)
    loss.backward()
    assert loss.item() == pytest.approx((d**2).sum() / 12, rel=1e-14)
    np.testing.assert_allclose(z.grad.numpy(), 2 * d / 12, rtol=1e-14)


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 1), (4, 2, 3, 5)])
def test_L5_half_mean_is_over_the_samples(shape: tuple[int, ...]) -> None:
    """1/(2N) of the squared distances: for vectors N is not the number of elements, for scalars it is."""
    z, t, d = _pair(*shape)
    loss = nn.MSELoss(reduction="half_mean")(z, t)
    loss.backward()
    assert loss.item() == pytest.approx((d**2).sum() / (2 * 4), rel=1e-14)
    np.testing.assert_allclose(z.grad.numpy(), d / 4, rtol=1e-14)


def test_L5_sum() -> None:
    z, t, d = _pair(4, 3)
    loss = nn.MSELoss(reduction="sum")(z, t)
    loss.backward()
    assert loss.item() == pytest.approx((d**2).sum(), rel=1e-14)
    np.testing.assert_allclose(z.grad.numpy(), 2 * d, rtol=1e-14)


def test_L5_gradient_of_l1_is_sign_over_n() -> None:
    z, t, d = _pair(4, 3)
    loss = nn.L1Loss()(z, t)
    loss.backward()
    assert loss.item() == pytest.approx(np.abs(d).mean(), rel=1e-14)
    np.testing.assert_array_equal(z.grad.numpy(), np.sign(d) / 12)


def test_L5_binary_cross_entropy_is_that_of_two_classes() -> None:
    """With p = (1 - p, p): on probabilities, and from scores with those of "no" at 0."""
    rng = np.random.Generator(np.random.Philox(4))
    score, yes = 3 * rng.standard_normal(50), rng.integers(0, 2, 50)
    p = 1 / (1 + np.exp(-score))
    labels, target = gpunn.tensor(yes), gpunn.tensor(yes.astype(np.float64))
    two = F.probability_cross_entropy(gpunn.tensor(np.stack([1 - p, p], axis=1)), labels)
    binary = gpunn.tensor(p, requires_grad=True)
    loss = nn.BCELoss()(binary, target)
    loss.backward()
    assert loss.item() == pytest.approx(two.item(), rel=1e-13)
    np.testing.assert_allclose(binary.grad.numpy(), (p - yes) / (p * (1 - p)) / 50, rtol=1e-12)

    logits = gpunn.tensor(score, requires_grad=True)
    from_scores = nn.BCEWithLogitsLoss()(logits, target)
    from_scores.backward()
    scores = gpunn.tensor(np.stack([0 * score, score], axis=1), requires_grad=True)
    fused = nn.CrossEntropyLoss()(scores, labels)
    fused.backward()
    assert from_scores.item() == pytest.approx(fused.item(), rel=1e-14)
    assert from_scores.item() == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(logits.grad.numpy(), scores.grad.numpy()[:, 1], rtol=0, atol=1e-16)
    np.testing.assert_allclose(logits.grad.numpy(), (p - yes) / 50, rtol=0, atol=1e-16)


def test_L5_negative_log_likelihood() -> None:
    logs = np.log(np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]))
    x = gpunn.tensor(logs, requires_grad=True)
    loss = nn.NLLLoss()(x, gpunn.tensor([1, 0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(-(np.log(0.8) + np.log(0.5) + np.log(0.9)) / 3, rel=1e-15)
    np.testing.assert_allclose(x.grad.numpy(), [[0, -1 / 3], [-1 / 3, 0], [-1 / 3, 0]], rtol=1e-15)
    scores = gpunn.randn(6, 4)
    labels = gpunn.tensor([0, 1, 2, 3, 0, 1])
    composed = nn.NLLLoss()(nn.LogSoftmax(dim=1)(scores), labels)
    assert composed.item() == pytest.approx(nn.CrossEntropyLoss()(scores, labels).item(), rel=1e-6)
