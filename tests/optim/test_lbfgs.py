"""L-BFGS: PyTorch's evaluations and iterates, its state, and what it refuses."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import CaptureError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed


def _valley(library: Any, to: Any, seed: int, **options: Any) -> tuple[Any, Any, list[float]]:
    """Parameters of two shapes, an optimiser and the losses of all evaluations of a curved valley."""
    rng = np.random.Generator(np.random.Philox(seed))
    x, w = (to(rng.standard_normal(shape)).requires_grad_() for shape in ((4,), (2, 3)))
    unused = to(np.ones(2)).requires_grad_()
    unit, losses = to(np.eye(2)), []
    optimizer = library.optim.LBFGS([x, w, unused], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        valley = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        loss = valley + ((w @ w.T - unit) ** 2).sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    return optimizer, closure, losses


@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7},
        {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_eval": 9},
        {"line_search_fn": "strong_wolfe", "tolerance_change": 0.1},
        {"lr": 1e-3, "max_iter": 7},
        {"lr": 1e-3, "history_size": 2, "tolerance_grad": 30.0},
    ],
)
def test_follows_pytorch(seed: int, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    runs = []
    for library in (gpunn, torch):
        optimizer, closure, losses = _valley(library, library.tensor, seed, **options)
        returned = [optimizer.step(closure).item() for _ in range(2)]
        runs.append((returned, losses, [p.detach().numpy() for p in optimizer.param_groups[0]["params"]]))
    assert len(runs[0][1]) == len(runs[1][1])
    # Rounding in another order grows along a valley: from 1e-16 by some orders of magnitude.
    for mine, theirs in zip(runs[0], runs[1], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_finds_the_minimum(where: str) -> None:
    optimizer, closure, losses = _valley(
        gpunn, functools.partial(gpunn.tensor, device=where), 0, line_search_fn="strong_wolfe", max_iter=6
    )
    before = len(losses)
    optimizer.step(closure)
    assert losses[before] > 10 * min(losses)
    assert not optimizer.param_groups[0]["params"][0].grad.requires_grad
    if where == "cpu":
        for _ in range(12):
            optimizer.step(closure)
        assert losses[-1] < 1e-10 or abs(losses[-1] - 3.7) < 0.1  # the valley has a second minimum


def test_goes_on_from_a_saved_state_bit_for_bit() -> None:
    options = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    optimizer, closure, losses = _valley(gpunn, gpunn.tensor, 0, **options)
    optimizer.step(closure)
    saved = copy.deepcopy(optimizer.state_dict())
    values = [p.detach().numpy().copy() for p in optimizer.param_groups[0]["params"]]
    optimizer.step(closure)
    rest = losses[-3:]
    other, closure, losses = _valley(gpunn, gpunn.tensor, 5, **options)
    other.load_state_dict(saved)
    for p, value in zip(other.param_groups[0]["params"], values, strict=True):
        p.data.copy_(value)
    other.step(closure)
    assert losses[-3:] == rest


def test_takes_pytorchs_state() -> None:
    torch = pytest.importorskip("torch")
    options = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    theirs, their_closure, their_losses = _valley(torch, torch.tensor, 1, **options)
    theirs.step(their_closure)
    mine, closure, losses = _valley(gpunn, gpunn.tensor, 2, **options)
    mine.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for p, value in zip(mine.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        p.data.copy_(value.detach().numpy().copy())
    theirs.step(their_closure)
    mine.step(closure)
    np.testing.assert_allclose(losses, their_losses[-len(losses) :], rtol=1e-9)


def test_stops_at_once_where_there_is_nothing_to_gain() -> None:
    x = gpunn.zeros(2, requires_grad=True)
    optimizer = gpunn.optim.LBFGS([x])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert optimizer.state[x]["func_evals"] == 1
    assert x.tolist() == [0.0, 0.0]


def test_refusals(kernels: str) -> None:
    x, y = (gpunn.ones(2, device=kernels, requires_grad=True) for _ in range(2))
    for text, options in (
        ("max_iter: expected a whole number of at least 1; got 0", {"max_iter": 0}),
        ("history_size: expected a whole number", {"history_size": 2.5}),
        ("line_search_fn: expected None or 'strong_wolfe'; got 'armijo'", {"line_search_fn": "armijo"}),
        ("tolerance_grad: expected a number >= 0", {"tolerance_grad": -1}),
    ):
        with pytest.raises(UsageError, match=f"^LBFGS: {text}"):
            gpunn.optim.LBFGS([x], **options)
    with pytest.raises(UsageError, match=r"^LBFGS: expected one group of parameters"):
        gpunn.optim.LBFGS([{"params": [x]}, {"params": [y]}])
    optimizer = gpunn.optim.LBFGS([x])
    with pytest.raises(UsageError, match=r"^LBFGS\.step: closure: expected a function"):
        optimizer.step()
    saved = {**optimizer.state_dict(), "state": {0: {"d": gpunn.ones(3)}}}
    with pytest.raises(UsageError, match=r"^LBFGS\.load_state_dict: d: expected vectors of 2 numbers; got \(3,\)"):
        optimizer.load_state_dict(saved)

    def step(given: Any) -> Any:
        return optimizer.step(given.sum)

    with pytest.raises(CaptureError, match=r"LBFGS: how often it evaluates the loss"):
        gpunn.capture(step)(y.detach())
