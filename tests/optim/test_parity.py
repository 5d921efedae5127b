"""Every optimiser follows PyTorch's for fifty steps of a small network in float64, with options and two groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn, optim
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE

_STEPS = 50
_RATES = {
    "Adadelta": 1.0,
    "Adamax": 0.02,
    "NAdam": 0.02,
    "RAdam": 0.02,
    "SGD": 0.05,
    "Adagrad": 0.1,
    "RMSprop": 0.01,
    "Adam": 0.02,
    "AdamW": 0.02,
}
_OPTIONS: dict[str, dict[str, list[Any]]] = {
    "SGD": {"momentum": [0, 0.9], "dampening": [0, 0.3], "weight_decay": [0, 0.01], "maximize": [False, True]},
    "Adagrad": {
        "lr_decay": [0, 0.1],
        "weight_decay": [0, 0.01],
        "initial_accumulator_value": [0, 0.5],
        "eps": [1e-10, 1e-3],
        "maximize": [False, True],
    },
    "RMSprop": {
        "alpha": [0.99, 0.8],
        "eps": [1e-8, 1e-3],
        "weight_decay": [0, 0.01],
        "momentum": [0, 0.9],
        "centered": [False, True],
        "maximize": [False, True],
    },
    "Adam": {
        "betas": [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)],
        "eps": [1e-8, 1e-3],
        "weight_decay": [0, 0.1],
        "amsgrad": [False, True],
        "maximize": [False, True],
    },
}
_OPTIONS["Adadelta"] = {
    "rho": [0.9, 0.5, 1.0],
    "eps": [1e-6, 1e-3],
    "weight_decay": [0, 0.01],
    "maximize": [False, True],
}
_OPTIONS["Adamax"] = {name: values for name, values in _OPTIONS["Adam"].items() if name != "amsgrad"}
_OPTIONS["RAdam"] = {**_OPTIONS["Adamax"], "decoupled_weight_decay": [False, True]}
_OPTIONS["NAdam"] = {**_OPTIONS["RAdam"], "momentum_decay": [0.004, 0.5]}
_OPTIONS["AdamW"] = {**_OPTIONS["Adam"], "weight_decay": [0.01, 0, 0.5]}


@st.composite
def _choices(draw: st.DrawFn, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the optimiser, and those that the second group has of its own."""
    options = {name: draw(st.sampled_from(values)) for name, values in _OPTIONS[kind].items()}
    if kind == "SGD" and options["momentum"] and not options["dampening"]:
        options["nesterov"] = draw(st.booleans())
    own: dict[str, Any] = {"lr": _RATES[kind] / 2}
    if draw(st.booleans()):
        own["weight_decay"] = 0.05
    return {"lr": _RATES[kind], **options}, own


class _Pair:
    """The same two-layer network and optimiser in gpunn and in PyTorch."""

    def __init__(self, kind: str, options: dict[str, Any], own: dict[str, Any], where: str = "cpu") -> None:
        self.torch = pytest.importorskip("torch")
        rng = np.random.Generator(np.random.Philox(5))
        self.where = where
        self.values = [rng.standard_normal(s) / 2 for s in ((7, 5), (7,), (3, 7), (3,))]
        self.x, self.y = rng.standard_normal((11, 5)), rng.standard_normal((11, 3))
        self.mine = [gpunn.tensor(v, device=where, requires_grad=True) for v in self.values]
        self.other = [self.torch.tensor(v, requires_grad=True) for v in self.values]
        self.ours = self.optimizer(optim, kind, self.mine, options, own)
        self.theirs = self.optimizer(self.torch.optim, kind, self.other, options, own)

    def optimizer(self, package: Any, kind: str, p: list[Any], options: dict[str, Any], own: dict[str, Any]) -> Any:
        return getattr(package, kind)([{"params": p[:2]}, {"params": p[2:], **own}], **options)

    def step(self) -> None:
        for f, p, optimizer, put in (
            (F, self.mine, self.ours, lambda a: gpunn.tensor(a, device=self.where)),
            (self.torch.nn.functional, self.other, self.theirs, self.torch.tensor),
        ):
            optimizer.zero_grad()
            d = f.linear(f.relu(f.linear(put(self.x), p[0], p[1])), p[2], p[3]) - put(self.y)
            loss = (d * d).mean()
            # Climbing, the squared error would grow without bound.
            (loss if not optimizer.param_groups[0]["maximize"] else loss * -1.0).backward()
            optimizer.step()

    def compare(self, step: int) -> None:
        for a, b in zip(self.mine, self.other, strict=True):
            # 2e-16 a step and operation, amplified by at most some thousands over fifty steps of training.
            np.testing.assert_allclose(
                a.detach().numpy(), b.detach().numpy(), rtol=0, atol=1e-11, err_msg=f"step {step}"
            )


@pytest.mark.parametrize("kind", sorted(_OPTIONS))
@given(st.data())
@settings(max_examples=12, deadline=None)
def test_follows_torch_for_fifty_steps(kind: str, data: st.DataObject) -> None:
    pair = _Pair(kind, *data.draw(_choices(kind)))
    for step in range(_STEPS):
        pair.step()
        pair.compare(step)
    moved = max(np.abs(a.detach().numpy() - v).max() for a, v in zip(pair.mine, pair.values, strict=True))
    assert moved > 0.01, "nothing moved, so nothing was compared"


@pytest.mark.parametrize("kind", sorted(_OPTIONS))
@given(st.data())
@settings(max_examples=3, deadline=None)
def test_follows_torch_with_kernels(kernels: str, kind: str, data: st.DataObject) -> None:
    pair = _Pair(kind, *data.draw(_choices(kind)), where=kernels)
    for step in range(10):
        pair.step()
        pair.compare(step)


@pytest.mark.parametrize("kind", sorted(_OPTIONS))
def test_defaults_are_those_of_torch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    ours = getattr(optim, kind)([gpunn.ones(1, requires_grad=True)]).param_groups[0]
    theirs = getattr(torch.optim, kind)([torch.ones(1, requires_grad=True)]).param_groups[0]
    assert {k: v for k, v in ours.items() if k != "params"} == {k: theirs[k] for k in ours if k != "params"}
    # What PyTorch has more chooses among its implementations.
    assert set(theirs) - set(ours) <= {"foreach", "fused", "capturable", "differentiable"}


_STATEFUL = [
    ("SGD", {"momentum": 0.9}),
    ("Adagrad", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("RMSprop", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {}),
]


@pytest.mark.parametrize(("kind", "options"), _STATEFUL)
def test_state_is_laid_out_as_torchs_and_moves_both_ways(kind: str, options: dict[str, Any]) -> None:
    pair = _Pair(kind, {"lr": 0.01, **options}, {"lr": 0.005})
    for _ in range(3):
        pair.step()
    mine, other = pair.ours.state_dict(), pair.theirs.state_dict()
    assert list(mine["state"]) == list(other["state"])
    for i, expected in other["state"].items():
        assert set(mine["state"][i]) == set(expected)
        for name, value in expected.items():
            got = mine["state"][i][name]
            assert got.shape == tuple(value.shape)
            assert str(got.dtype) == str(value.dtype).removeprefix("torch.")
            np.testing.assert_allclose(got.numpy(), value.numpy(), rtol=0, atol=1e-12, err_msg=name)
    # From PyTorch into a new optimiser here, and from here into a new one there; both go on alike.
    pair.ours = pair.optimizer(optim, kind, pair.mine, {"lr": 9.0}, {})
    pair.ours.load_state_dict(other)
    as_torch = {
        "state": {
            i: {k: pair.torch.tensor(v.numpy().copy()) for k, v in state.items()} for i, state in mine["state"].items()
        },
        "param_groups": [{**new, **old} for new, old in zip(other["param_groups"], mine["param_groups"], strict=True)],
    }
    pair.theirs = pair.optimizer(pair.torch.optim, kind, pair.other, {"lr": 9.0}, {})
    pair.theirs.load_state_dict(as_torch)
    for step in range(3):
        pair.step()
        pair.compare(step)


@pytest.mark.parametrize("kind", ["Adam", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"])
def test_a_parameter_that_joins_later_has_its_own_step_count(kind: str) -> None:
    torch = pytest.importorskip("torch")
    values = [np.array([1.0, -2.0]), np.array([0.5])]
    mine = [gpunn.tensor(v, requires_grad=True) for v in values]
    other = [torch.tensor(v, requires_grad=True) for v in values]
    ours, theirs = getattr(optim, kind)(mine, lr=0.1), getattr(torch.optim, kind)(other, lr=0.1)
    rng = np.random.Generator(np.random.Philox(2))
    for step in range(6):
        for i, v in enumerate(values):
            g = rng.standard_normal(v.shape)
            absent = i == 1 and step < 2
            mine[i].grad, other[i].grad = (None, None) if absent else (gpunn.tensor(g), torch.tensor(g))
        ours.step()
        theirs.step()
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=0, atol=1e-13)
    assert [int(ours.state[p]["step"].item()) for p in mine] == [6, 4]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_products_of_nadam_may_differ_where_steps_do_not(where: str) -> None:
    """A beta that changed while one parameter had no gradient; then both are updated, each by its own product."""
    torch = pytest.importorskip("torch")
    mine = [gpunn.tensor(np.ones(2), device=where, requires_grad=True) for _ in range(2)]
    other = [torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    ours, theirs = optim.NAdam(mine, lr=0.1), torch.optim.NAdam(other, lr=0.1)
    for step, used in enumerate([(0,), (1,), (0, 1), (0, 1)]):
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["betas"] = (0.5 + 0.1 * step, 0.99)
        for i in range(2):
            g = np.array([1.0, -2.0 - step])
            mine[i].grad = gpunn.tensor(g, device=where) if i in used else None
            other[i].grad = torch.tensor(g) if i in used else None
        ours.step()
        theirs.step()
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=0, atol=1e-13)
    assert [int(ours.state[p]["step"].item()) for p in mine] == [3, 3]
    assert ours.state[mine[0]]["mu_product"].item() != ours.state[mine[1]]["mu_product"].item()


def test_norms_of_gradients_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.Generator(np.random.Philox(8))
    gradients = [rng.standard_normal(s) for s in ((3, 4), (5,), (2, 3, 2, 2))]
    for p, most in ((2.0, 1.0), (1.0, 3.0), (float("inf"), 0.5), (3.0, 100.0)):
        mine = [gpunn.zeros(*g.shape, dtype=np.float64, requires_grad=True) for g in gradients]
        other = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
        for a, b, g in zip(mine, other, gradients, strict=True):
            a.grad, b.grad = gpunn.tensor(g), torch.tensor(g)
        got = nn.utils.clip_grad_norm_(mine, most, p)
        expected = torch.nn.utils.clip_grad_norm_(other, most, p)
        assert got.item() == pytest.approx(expected.item(), rel=1e-14)
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-13)
