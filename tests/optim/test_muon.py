"""Muon and Lookahead: against PyTorch or the paper's formula, captured, saved, and what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn._device import device as get_device
from gpunn.errors import CaptureError, ShapeError, UsageError
from tests.devices import EVERYWHERE

SHAPES = [(6, 4), (4, 9), (5, 5)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"nesterov": False, "momentum": 0.6, "weight_decay": 0.0},
    {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "lr": 0.02},
    {"ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 12, "weight_decay": 0.5},
]


def arrays(seed: int, shapes: Any = None) -> list[np.ndarray]:
    rng = np.random.Generator(np.random.Philox(seed))
    return [rng.normal(0, 1, shape).astype(np.float32) for shape in shapes or SHAPES]


def leaves(values: list[np.ndarray], where: str) -> list[gpunn.Tensor]:
    return [gpunn.tensor(v, device=get_device(where)).requires_grad_() for v in values]


def give(params: list[gpunn.Tensor], grads: list[np.ndarray]) -> None:
    for p, g in zip(params, grads, strict=True):
        p.grad = gpunn.tensor(g, device=p.device)


def orthogonal(u: np.ndarray, coefficients: Any, steps: int) -> np.ndarray:
    """The iteration on the singular values alone, which is what it does to a matrix, in float64."""
    left, s, right = np.linalg.svd(u.astype(np.float64), full_matrices=False)
    s = s / np.sqrt((s**2).sum())
    a, b, c = coefficients
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return (left * s) @ right


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_five_steps_are_the_formulas_and_near_torchs(where: str, options: dict[str, Any]) -> None:
    """PyTorch iterates in bfloat16, of 8 bits; so the formula in float64 is the sharper judge."""
    torch = pytest.importorskip("torch")
    start = arrays(0)
    params = leaves(start, where)
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in start]
    ours, other = optim.Muon(params, **options), torch.optim.Muon(theirs, **options)
    group = ours.param_groups[0]
    assert {k: v for k, v in group.items() if k != "params"} == {
        k: v for k, v in other.param_groups[0].items() if k != "params"
    }
    m, lr, decay = group["momentum"], group["lr"], group["weight_decay"]
    expected, buffers = [v.astype(np.float64) for v in start], [np.zeros_like(v, np.float64) for v in start]
    for step in range(1, 6):
        grads = arrays(step)
        give(params, grads)
        for p, g in zip(theirs, grads, strict=True):
            p.grad = torch.tensor(g)
        ours.step()
        other.step()
        for i, g in enumerate(grads):
            buffers[i] = m * buffers[i] + (1 - m) * g
            u = (1 - m) * g + m * buffers[i] if group["nesterov"] else buffers[i]
            a, b = g.shape
            ratio = 0.2 * max(a, b) ** 0.5 if group["adjust_lr_fn"] else max(1, a / b) ** 0.5
            made = orthogonal(u, group["ns_coefficients"], group["ns_steps"])
            expected[i] = (1 - lr * decay) * expected[i] - lr * ratio * made
    for i, (p, q) in enumerate(zip(params, theirs, strict=True)):
        mine = p.detach().numpy()
        # The steps alone, without what they began with. float32's iteration amplifies roundings about 3.4^5 times
        # where a singular value is small; bfloat16's 2^-9 is rounded to at each of fifteen products.
        moved = np.abs(expected[i] - start[i]).max()
        np.testing.assert_allclose(mine, expected[i], rtol=0, atol=2e-4 * moved + 3e-7)
        np.testing.assert_allclose(mine, q.detach().numpy(), rtol=0, atol=0.1 * moved)
        np.testing.assert_allclose(
            ours.state[p]["momentum_buffer"].numpy(), other.state[q]["momentum_buffer"].numpy(), rtol=0, atol=1e-6
        )


def test_filters_are_matrices_of_a_row_for_each(kernels: str) -> None:
    """In whatever order memory has a filter's numbers."""
    (filters,), (gradient,) = arrays(0, [(6, 3, 2, 2)]), arrays(1, [(6, 3, 2, 2)])
    for where in ("cpu", kernels):
        p, flat = leaves([filters, filters.reshape(6, 12)], where)
        give([p, flat], [gradient, gradient.reshape(6, 12)])
        optim.Muon([p, flat], lr=0.5).step()
        # Sums of twelve in another order, and what the iteration makes of that.
        np.testing.assert_allclose(p.detach().numpy().reshape(6, 12), flat.detach().numpy(), rtol=0, atol=1e-5)


def _pair(kind: str, where: str) -> tuple[nn.Module, Any]:
    gpunn.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3, bias=False))
    model = model.to(get_device(where))
    if kind == "muon":
        return model, optim.Muon(model.parameters(), lr=0.05)
    inner = optim.SGD if kind == "sgd" else optim.Adam
    return model, optim.Lookahead(inner(model.parameters(), lr=0.05), k=3, alpha=0.4)


def _step(model: nn.Module, optimizer: Any) -> Any:
    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def _batch(where: str, seed: int) -> tuple[Any, Any]:
    (x,) = arrays(seed, [(5, 2, 4, 4)])
    return gpunn.tensor(x, device=get_device(where)), gpunn.tensor(np.arange(5) % 3, device=get_device(where))


def _values(model: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in model.parameters()]


@pytest.mark.parametrize("kind", ["muon", "sgd", "adam"])
def test_captured_equals_eager_to_the_bit_and_follows_the_rate(kernels: str, kind: str) -> None:
    found = []
    for captured in (False, True):
        model, optimizer = _pair(kind, kernels)
        step = _step(model, optimizer)
        run = gpunn.capture(step) if captured else step
        for i in range(8):
            optimizer.param_groups[0]["lr"] = 0.05 / (i + 1)
            if kind != "muon":
                optimizer.alpha = 0.1 * i
            run(*_batch(kernels, i))
        found.append(_values(model))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_replay_refuses_another_iteration(kernels: str) -> None:
    model, optimizer = _pair("muon", kernels)
    run = gpunn.capture(_step(model, optimizer))
    for i in range(3):
        run(*_batch(kernels, i))
    optimizer.param_groups[0]["ns_steps"] = 4
    with pytest.raises(CaptureError, match=r"Muon: .* changes the rule"):
        run(*_batch(kernels, 3))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_lookahead_is_the_papers(where: str) -> None:
    start = arrays(0)
    params, plain = leaves(start, where), leaves(start, where)
    ours, inner = (
        optim.Lookahead(optim.SGD(params, lr=0.1, momentum=0.9), 3, 0.3),
        optim.SGD(plain, lr=0.1, momentum=0.9),
    )
    slow = [v.copy() for v in start]
    for step in range(1, 8):
        give(params, arrays(step))
        give(plain, arrays(step))
        ours.step()
        inner.step()
        if step % 3 == 0:
            for i, p in enumerate(plain):
                slow[i] = slow[i] + 0.3 * (p.detach().numpy() - slow[i])
                with gpunn.no_grad():
                    p.copy_(gpunn.tensor(slow[i].astype(np.float32), device=p.device))
        for p, q in zip(params, plain, strict=True):
            # Two roundings of numbers up to about 4, every third step.
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=0, atol=2e-6)
    for p, expected in zip(params, slow, strict=True):
        np.testing.assert_allclose(ours.state[p]["slow_buffer"].numpy(), expected, rtol=0, atol=2e-6)
        assert ours.state[p]["slow_step"].item() == 7


@pytest.mark.parametrize("kind", ["muon", "sgd", "adam"])
@pytest.mark.parametrize("how", ["state", "copy"])
def test_a_saved_state_goes_on_bit_for_bit(kind: str, how: str) -> None:
    model, optimizer = _pair(kind, "cpu")
    for i in range(4):
        _step(model, optimizer)(*_batch("cpu", i))
    if how == "copy":
        other, resumed = copy.deepcopy((model, optimizer))
    else:
        other, resumed = _pair(kind, "cpu")
        other.load_state_dict(model.state_dict())
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for i in range(4, 8):
        _step(model, optimizer)(*_batch("cpu", i))
        _step(other, resumed)(*_batch("cpu", i))
    for a, b in zip(_values(model), _values(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_schedule_may_hold_lookahead_and_groups_join_the_inner_optimiser() -> None:
    params = leaves(arrays(0), "cpu")
    ours = optim.Lookahead(optim.SGD(params[:2], lr=0.1))
    schedule = optim.lr_scheduler.StepLR(ours, 1, 0.5)
    ours.add_param_group({"params": params[2:], "lr": 0.2})
    assert [len(g["params"]) for g in ours.optimizer.param_groups] == [2, 1]
    give(params, arrays(1))
    ours.step()
    schedule.step()
    assert ours.optimizer.param_groups[0]["lr"] == 0.05


def test_refuses() -> None:
    p = leaves(arrays(0), "cpu")
    with pytest.raises(ShapeError, match=r"two axes or more; got shape \(3,\)"):
        optim.Muon([gpunn.zeros(3).requires_grad_()])
    for options, message in (
        ({"momentum": 1.5}, "momentum"),
        ({"lr": -1.0}, "lr"),
        ({"ns_steps": 100}, "ns_steps"),
        ({"ns_coefficients": (1.0, 2.0)}, "ns_coefficients"),
        ({"ns_coefficients": (1.0, 2.0, "x")}, r"ns_coefficients\[2\]"),
        ({"adjust_lr_fn": "none"}, "adjust_lr_fn"),
        ({"eps": -1.0}, "eps"),
    ):
        with pytest.raises(UsageError, match=f"Muon: {message}"):
            optim.Muon(p, **options)
    inner = optim.SGD(p, lr=0.1)
    with pytest.raises(UsageError, match="Lookahead: expected an optimiser"):
        optim.Lookahead(p)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="got Lookahead"):
        optim.Lookahead(optim.Lookahead(inner))
    with pytest.raises(UsageError, match="Lookahead: k"):
        optim.Lookahead(inner, k=0)
    with pytest.raises(UsageError, match="Lookahead: alpha"):
        optim.Lookahead(inner, alpha=1.5)
