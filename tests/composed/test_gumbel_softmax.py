"""Samples of classes with gradients: what they sum up to, how often each class comes, whose gradient they have."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn.errors import DTypeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dim", [0, -1])
def test_samples(where: str, dim: int) -> None:
    x = gpunn.tensor([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]], device=where)
    soft = F.gumbel_softmax(x, tau=0.5, dim=dim).numpy()
    hard = F.gumbel_softmax(x, hard=True, dim=dim).numpy()
    np.testing.assert_allclose(soft.sum(dim), 1, rtol=1e-6)
    assert set(np.unique(hard.round(6))) <= {0.0, 1.0}  # 1 - s + s is rounded
    np.testing.assert_allclose(hard.sum(dim), 1, rtol=1e-6)


def test_classes_come_as_often_as_they_should() -> None:
    gpunn.manual_seed(1)
    chances = np.array([0.1, 0.2, 0.7])
    x = gpunn.tensor(np.log(chances)).expand(10000, 3)
    shares = F.gumbel_softmax(x, hard=True).numpy().mean(0)
    np.testing.assert_allclose(shares, chances, atol=5 * 0.5 / 100)  # five standard errors


@pytest.mark.parametrize("hard", [False, True])
def test_its_gradient_is_that_of_softmax(hard: bool) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    values, dy = rng.standard_normal((4, 3)), gpunn.tensor(rng.standard_normal((4, 3)))
    x = gpunn.tensor(values, requires_grad=True)
    gpunn.manual_seed(7)
    F.gumbel_softmax(x, 2.0, hard).backward(dy)
    gpunn.manual_seed(7)
    noise = -(-gpunn.rand(4, 3, dtype="float64").log()).log()
    again = gpunn.tensor(values, requires_grad=True)
    F.softmax((again + noise) / 2.0, -1).backward(dy)
    assert x.grad is not None
    assert again.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), again.grad.numpy(), rtol=1e-12)  # the same operations


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="positive"):
        F.gumbel_softmax(gpunn.zeros(3), tau=0)
    with pytest.raises(DTypeError, match="floating"):
        F.gumbel_softmax(gpunn.zeros(3, dtype="int64"))
