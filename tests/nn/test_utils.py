"""Clipping gradients: known answers, and what is refused. Parity is in tests/optim/test_parity.py."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DeviceError, GraphError, TrainingError, UsageError
from tests.devices import EVERYWHERE


def _leaf(gradient: Any, where: str = "cpu") -> gpunn.Tensor:
    g = gpunn.tensor(np.array(gradient, np.float32), device=where)
    p = gpunn.zeros(*g.shape, device=where, requires_grad=True)
    p.grad = g
    return p


@pytest.mark.parametrize("where", EVERYWHERE)
def test_long_gradients_are_scaled_in_place_and_short_ones_left(where: str) -> None:
    a, b, c = _leaf([3.0, 0.0], where), _leaf([[4.0]], where), gpunn.zeros(3, requires_grad=True, device=where)
    before = a.grad
    norm = nn.utils.clip_grad_norm_([a, b, c], 2.5)
    assert (norm.item(), norm.shape, norm.device) == (5.0, (), gpunn.device(where))
    assert a.grad is before
    # 1e-6 is added to the norm.
    np.testing.assert_allclose(a.grad.numpy(), [1.5, 0], rtol=1e-6)
    np.testing.assert_allclose(b.grad.numpy(), [[2.0]], rtol=1e-6)
    values = a.grad.numpy().copy()
    assert nn.utils.clip_grad_norm_(iter([a, b]), 3.0).item() == pytest.approx(2.5, rel=1e-6)
    np.testing.assert_array_equal(a.grad.numpy(), values)


def test_one_tensor_and_none() -> None:
    p = _leaf([-6.0, 2.0])
    assert nn.utils.clip_grad_norm_(p, 3.0, norm_type=float("inf")).item() == 6
    np.testing.assert_allclose(p.grad.numpy(), [-3, 1], rtol=1e-6)
    assert nn.utils.clip_grad_norm_([gpunn.zeros(2, requires_grad=True)], 1.0).item() == 0


@pytest.mark.parametrize("where", EVERYWHERE)
def test_images_keep_their_order(where: str) -> None:
    p = _leaf(np.arange(24).reshape(2, 3, 2, 2), where)
    nn.utils.clip_grad_value_(p, 5)
    np.testing.assert_array_equal(p.grad.numpy(), np.minimum(np.arange(24), 5).reshape(2, 3, 2, 2))


def test_the_tape_notices() -> None:
    p = _leaf([1.0, 2.0])
    g = p.grad.requires_grad_()
    loss = (g * g).sum()
    nn.utils.clip_grad_value_(p, 1.0)
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


def test_an_error_for_what_is_not_finite_comes_before_any_change() -> None:
    a, b = _leaf([np.nan]), _leaf([8.0])
    with pytest.raises(TrainingError, match="the norm of the gradients is nan"):
        nn.utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)
    assert b.grad.item() == 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: nn.utils.clip_grad_norm_(p, -1.0), "max_norm: expected a number >= 0; got -1.0"),
        (lambda p: nn.utils.clip_grad_norm_(p, float("nan")), "max_norm"),
        (lambda p: nn.utils.clip_grad_norm_(p, 1.0, 0), "norm_type: expected a number > 0"),
        (lambda p: nn.utils.clip_grad_norm_(p, 1.0, cast(Any, "fro")), "norm_type"),
        (lambda p: nn.utils.clip_grad_value_(p, -0.5), "clip_value: expected a number >= 0"),
    ],
)
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call([_leaf([1.0])])


def test_refuses_several_dtypes() -> None:
    p = gpunn.zeros(1, dtype=np.float64, requires_grad=True)
    p.grad = gpunn.ones(1, dtype=np.float64)
    with pytest.raises(UsageError, match=r"one dtype; got .'float32', 'float64'."):
        nn.utils.clip_grad_norm_([_leaf([1.0]), p], 1.0)


def test_refuses_several_devices(kernels: str) -> None:
    with pytest.raises(DeviceError, match="clip_grad_value_: inputs are on different devices"):
        nn.utils.clip_grad_value_([_leaf([1.0]), _leaf([1.0], kernels)], 1.0)
