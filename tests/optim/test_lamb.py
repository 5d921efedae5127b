"""LAMB against the paper's update, worked out with plain numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import optim
from tests.devices import EVERYWHERE


def _by_hand(w: list[float], gradients: list[list[float]], lr: float, b1: float, b2: float, eps: float, decay: float):
    """Algorithm 2 of You et al., element by element, phi(z) = z."""
    m, v = [0.0] * len(w), [0.0] * len(w)
    for t, gradient in enumerate(gradients, 1):
        r = []
        for i, g in enumerate(gradient):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            corrected_m, corrected_v = m[i] / (1 - b1**t), v[i] / (1 - b2**t)
            r.append(corrected_m / (math.sqrt(corrected_v) + eps) + decay * w[i])
        length, step = math.sqrt(sum(x * x for x in w)), math.sqrt(sum(x * x for x in r))
        ratio = length / step if length > 0 and step > 0 else 1.0
        w = [x - lr * ratio * d for x, d in zip(w, r, strict=True)]
    return w


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("maximize", [False, True])
def test_three_steps_by_hand(where: str, maximize: bool) -> None:
    weights = [[3.0, -4.0, 0.5], [0.0, 0.0]]
    gradients = [[[1.0, -2.0, 0.5], [0.5, 0.25]], [[0.1, 3.0, -1.0], [1.0, -1.0]], [[-2.0, 0.0, 4.0], [0.0, 2.0]]]
    numbers = {"lr": 0.1, "b1": 0.9, "b2": 0.99, "eps": 1e-6, "decay": 0.1}
    params = [gpunn.tensor(np.array(w), device=where, requires_grad=True) for w in weights]
    optimizer = optim.LAMB(params, lr=0.1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1, maximize=maximize)
    for step in gradients:
        for p, g in zip(params, step, strict=True):
            p.grad = gpunn.tensor(np.array(g) * (-1 if maximize else 1), device=where)
        optimizer.step()
    for i, p in enumerate(params):
        expected = _by_hand(weights[i], [step[i] for step in gradients], **numbers)
        # Some tens of roundings of numbers of order one.
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=0, atol=1e-14)


def test_a_step_is_as_long_as_lr_times_the_tensor() -> None:
    p = gpunn.tensor(np.array([3.0, 4.0]), requires_grad=True)
    p.grad = gpunn.tensor(np.array([100.0, -1e-3]))
    optim.LAMB([p], lr=0.01, weight_decay=0.3).step()
    assert np.linalg.norm(p.detach().numpy() - [3, 4]) == pytest.approx(0.01 * 5, rel=1e-12)


def test_state_has_adams_names() -> None:
    p: Any = gpunn.ones(2, requires_grad=True)
    p.grad = gpunn.ones(2)
    optimizer = optim.LAMB([p])
    optimizer.step()
    assert sorted(optimizer.state_dict()["state"][0]) == ["exp_avg", "exp_avg_sq", "step"]
