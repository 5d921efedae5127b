"""Scaling of losses: against PyTorch's scaler step by step, overflows, its state, errors, float16 on kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ArgumentError, CaptureError, DTypeError, UsageError
from tests.devices import EVERYWHERE

OPTIONS: dict[str, Any] = {"init_scale": 1024.0, "growth_interval": 2, "growth_factor": 4.0, "backoff_factor": 0.25}


def _trained(library: Any, factors: list[float], clip: bool) -> tuple[list[Any], dict[str, Any]]:
    """Weights and scales after each step; a factor of infinity makes gradients overflow."""
    w = library.nn.Parameter(library.ones(3))
    optimizer = library.optim.SGD([w], lr=0.1, momentum=0.9)
    scaler = library.amp.GradScaler("cpu", **OPTIONS)
    found = []
    for factor in factors:
        optimizer.zero_grad()
        scaler.scale((w * library.tensor([1.0, 2.0, 3.0]) * factor).sum()).backward()
        if clip:
            scaler.unscale_(optimizer)
            library.nn.utils.clip_grad_norm_([w], 1.0)
        scaler.step(optimizer)
        scaler.update()
        found.append((w.detach().tolist(), scaler.get_scale()))
    return found, scaler.state_dict()


@pytest.mark.parametrize("clip", [False, True])
def test_steps_and_scales_are_those_of_pytorch(clip: bool) -> None:
    torch = pytest.importorskip("torch")
    factors = [1.0, 0.5, 2.0, math.inf, 1.0, math.nan, 1.0, 1.0, 1.0, 1.0]
    found, state = _trained(gpunn, factors, clip)
    expected, other = _trained(torch, factors, clip)
    assert state == other
    for (weights, scale), (theirs, its) in zip(found, expected, strict=True):
        np.testing.assert_allclose(weights, theirs, rtol=1e-6)
        assert scale == its
    # What one of them keeps, the other takes.
    for library, given in ((gpunn, other), (torch, state)):
        scaler = library.amp.GradScaler("cpu")
        scaler.load_state_dict(given)
        assert scaler.get_scale() == state["scale"]


def test_without_being_enabled_nothing_is_scaled() -> None:
    w = nn.Parameter(gpunn.ones(2))
    optimizer = gpunn.optim.SGD([w], lr=0.5)
    scaler = gpunn.amp.GradScaler(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.5, 0.5]
    assert (scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (1.0, {}, False)
    scaler.load_state_dict({"scale": 3.0})


def test_several_losses_and_optimisers() -> None:
    a, b = (nn.Parameter(gpunn.ones(2)) for _ in range(2))
    first, second = gpunn.optim.SGD([a], lr=1.0), gpunn.optim.SGD([b], lr=1.0)
    scaler = gpunn.amp.GradScaler(init_scale=8.0)
    losses = scaler.scale([a.sum(), (b * math.inf).sum()])
    assert isinstance(losses, list)
    for loss in losses:
        loss.backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert a.tolist() == [0.0, 0.0]
    assert b.tolist() == [1.0, 1.0]
    assert scaler.get_scale() == 4.0
    scaler.update(2.0)
    assert scaler.get_scale() == 2.0


def test_mistakes_are_said() -> None:
    w = nn.Parameter(gpunn.ones(2))
    optimizer = gpunn.optim.SGD([w], lr=1.0)
    scaler = gpunn.amp.GradScaler()
    with pytest.raises(UsageError, match="call backward"):
        scaler.step(optimizer)
    with pytest.raises(UsageError, match="call step"):
        gpunn.amp.GradScaler().update()
    scaler.update(8.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(UsageError, match="closure"):
        scaler.step(optimizer, lambda: 1.0)
    scaler.unscale_(optimizer)
    with pytest.raises(UsageError, match="unscaled already"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    for again in (scaler.step, scaler.unscale_):
        with pytest.raises(UsageError, match="made its step already"):
            again(optimizer)
    with pytest.raises(ArgumentError, match="expected a Tensor"):
        scaler.scale(1.0)
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"growth_interval": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            gpunn.amp.GradScaler(**wrong)
    with pytest.raises(UsageError, match="missing"):
        scaler.load_state_dict({})
    half = nn.Parameter(gpunn.ones(2, dtype=gpunn.float16))
    half.sum().backward()
    with pytest.raises(DTypeError, match="float16"):
        gpunn.amp.GradScaler().unscale_(gpunn.optim.SGD([half], lr=1.0))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_small_gradients_survive_float16(where: str) -> None:
    """A gradient of 1e-8 is 0 in float16; scaled it is found again."""
    kind = where.split(":")[0]
    model = nn.Linear(4, 2, bias=False).to(where)
    x = gpunn.full((3, 4), 1e-3, device=where)
    optimizer = gpunn.optim.SGD(model.parameters(), lr=1.0)

    def gradient(scaler: gpunn.amp.GradScaler) -> np.ndarray:
        optimizer.zero_grad()
        with gpunn.autocast(kind, dtype=gpunn.float16):
            loss = model(x).float().sum() * 1e-6
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        assert model.weight.grad is not None
        return np.asarray(model.weight.grad.numpy())

    assert not gradient(gpunn.amp.GradScaler(init_scale=1.0)).any()
    # 3 * 1e-3 * 1e-6, of which float16 keeps 11 bits.
    np.testing.assert_allclose(gradient(gpunn.amp.GradScaler()), 3e-9, rtol=2**-9)


def test_a_captured_step_says_that_it_cannot(kernels: str) -> None:
    w = nn.Parameter(gpunn.ones(2, device=kernels))
    optimizer, scaler = gpunn.optim.SGD([w], lr=1.0), gpunn.amp.GradScaler()

    @gpunn.capture
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * x).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    x = gpunn.ones(2, device=kernels)
    step(x)
    with pytest.raises(CaptureError, match="bfloat16"):
        step(x)
