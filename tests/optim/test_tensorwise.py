"""Optimisers without kernels: what they refuse, and that they say so in a captured step."""

from __future__ import annotations

from typing import Any

import pytest

import gpunn
from gpunn import optim
from gpunn.errors import CaptureError, UsageError

KINDS = ["Adadelta", "Adamax", "NAdam", "RAdam"]


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_checked(kind: str) -> None:
    make: Any = getattr(optim, kind)
    leaves = [gpunn.ones(2, requires_grad=True)]
    wrong: list[dict[str, Any]] = [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": "a"}]
    wrong += [{"rho": 2.0}] if kind == "Adadelta" else [{"betas": (0.5, 1.0)}, {"betas": 0.5}]
    wrong += [{"momentum_decay": -1.0}] if kind == "NAdam" else []
    for options in wrong:
        with pytest.raises(UsageError, match=f"{kind}: {next(iter(options))}"):
            make(leaves, **options)
    for keyword in ("capturable", "differentiable"):
        with pytest.raises(UsageError, match=f"{kind}: {keyword}=True is not supported"):
            make(leaves, **{keyword: True})


@pytest.mark.emulator
@pytest.mark.parametrize("kind", KINDS)
def test_a_captured_step_says_that_there_is_no_kernel(kind: str) -> None:
    p = gpunn.ones(3, device="emulator", requires_grad=True)
    optimizer: Any = getattr(optim, kind)([p])

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (p * x).sum()
        loss.backward()
        optimizer.step()
        return loss

    captured = gpunn.capture(step)
    x = gpunn.ones(3, device="emulator")
    with pytest.raises(CaptureError, match=f"{kind}: it has no kernel, so its step cannot be captured"):
        captured(x)


@pytest.mark.parametrize("kind", KINDS)
def test_closures_and_parameters_without_a_gradient(kind: str) -> None:
    used, unused = gpunn.ones(2, requires_grad=True), gpunn.ones(2, requires_grad=True)
    optimizer: Any = getattr(optim, kind)([used, unused])

    def closure() -> float:
        optimizer.zero_grad()
        (used * used).sum().backward()
        return 2.5

    assert optimizer.step(closure) == 2.5
    assert unused.tolist() == [1.0, 1.0]
    assert used.tolist() != [1.0, 1.0]
    used.grad = gpunn.ones(3)
    with pytest.raises(UsageError, match=f"{kind}: expected a gradient of shape"):
        optimizer.step()
