"""recurrent against single steps, which PyTorch has confirmed; who gets gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.composed.recurrent import STEPS
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError
from gpunn.ops.recurrent import KINDS, recurrent
from tests.devices import EVERYWHERE

L, N, H = 4, 3, 2


def _inputs(kind: str, where: str = "cpu", dtype: str = "float64") -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(7))
    rows = KINDS[kind].gates * H
    shapes: dict[str, tuple[int, ...]] = {"given": (L, N, rows), "weight": (rows, H), "bias": (rows,), "h": (N, H)}
    shapes |= {"c": (N, H)} if kind == "LSTM" else {}
    return {
        name: gpunn.tensor(rng.standard_normal(shape).astype(dtype), device=where, requires_grad=True)
        for name, shape in shapes.items()
    }


def _by_steps(kind: str, given: Any, weight: Any, bias: Any, h: Any, c: Any = None, reverse: bool = False) -> Any:
    state: tuple[Any, ...] = (h,) if c is None else (h, c)
    states = []
    for one in list(given.unbind(0))[:: -1 if reverse else 1]:
        state = STEPS[kind](one, state, weight, bias)
        states.append(state[0])
    return gpunn.stack(states[:: -1 if reverse else 1]), *state


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_is_its_steps(where: str, kind: str, reverse: bool) -> None:
    for bias in (True, False):
        for used in ((0,), (1,), (-1,), (0, 1, -1)):  # outputs that are used
            found = []
            for function in (recurrent, _by_steps):
                inputs = _inputs(kind, where) | ({} if bias else {"bias": None})
                outputs = function(kind, **inputs, reverse=reverse)
                sum((outputs[place] * (1.5 + place)).square().sum() for place in used).backward()
                leaves = [t for t in inputs.values() if t is not None]
                found.append([t.detach().numpy() for t in outputs] + [t.grad.numpy() for t in leaves])
            for mine, other in zip(*found, strict=True):
                # A dozen roundings in each of four steps, of numbers of order ten.
                np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", list(KINDS))
def test_only_what_wants_a_gradient_gets_one(kind: str) -> None:
    expected = _inputs(kind)
    recurrent(kind, **expected)[0].square().sum().backward()
    for wanted in expected:
        inputs = _inputs(kind)
        for name, t in inputs.items():
            t.requires_grad_(name == wanted)
        recurrent(kind, **inputs)[0].square().sum().backward()
        for name, t in inputs.items():
            assert (t.grad is not None) == (name == wanted)
        np.testing.assert_allclose(inputs[wanted].grad.numpy(), expected[wanted].grad.numpy(), rtol=1e-13)
    with gpunn.no_grad():
        assert not any(t.requires_grad for t in recurrent(kind, **_inputs(kind)))


def test_a_changed_weight_is_noticed_and_the_graph_may_be_kept() -> None:
    inputs = _inputs("GRU")
    y, _ = recurrent("GRU", **inputs)
    y.sum().backward(retain_graph=True)
    once = inputs["given"].grad.tolist()
    y.sum().backward(retain_graph=True)
    assert inputs["given"].grad.tolist() == (2 * np.array(once)).tolist()
    inputs["weight"].data.add_(1)
    with pytest.raises(GraphError, match="recurrent: a tensor of shape"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("kind", "changes", "error", "message"),
    [
        ("ELU", {}, UsageError, "^recurrent: kind: expected one of RNN_TANH, RNN_RELU, LSTM, GRU; got 'ELU'"),
        ("LSTM", {"c": None}, UsageError, "^recurrent: c: LSTM needs a second state"),
        ("GRU", {"c": gpunn.zeros(N, H)}, UsageError, "^recurrent: c: GRU has no second state"),
        ("GRU", {"h": gpunn.zeros(N, H + 1)}, ShapeError, r"^recurrent: expected given \(L, N, 3 H\) of at least one"),
        ("GRU", {"given": gpunn.zeros(0, N, 3 * H)}, ShapeError, "of at least one step, weight"),
        ("LSTM", {"c": gpunn.zeros(N, 1)}, ShapeError, r"and states \(N, H\); got shapes"),
        ("GRU", {"bias": gpunn.zeros(3 * H)}, DTypeError, "^recurrent: expected one floating dtype; got"),
    ],
)
def test_refuses(kind: str, changes: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        recurrent(kind, **(_inputs(kind if kind in KINDS else "GRU") | changes))
