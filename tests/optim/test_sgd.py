"""optim.SGD against PyTorch: the rule, groups, state; and what a captured step can follow or must refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn, optim
from gpunn._layout import address_of
from gpunn.errors import CaptureError, UsageError
from tests.devices import EVERYWHERE

SHAPES = ((3,), (2, 5), (2, 3, 2, 2))


def _leaves(where: str = "cpu", shapes: Any = SHAPES, dtype: Any = np.float32) -> list[gpunn.Tensor]:
    rng = np.random.Generator(np.random.Philox(5))
    return [gpunn.tensor(rng.standard_normal(s).astype(dtype), device=where, requires_grad=True) for s in shapes]


def _set_gradients(params: list[Any], make: Any, seed: int, absent: tuple[int, ...] = ()) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    for i, p in enumerate(params):
        g = rng.standard_normal(tuple(p.shape)).astype(p.detach().numpy().dtype)
        p.grad = None if i in absent else make(g)


def _values(params: list[Any]) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in params]


def _close(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for a, b in zip(got, expected, strict=True):
        # Numbers of size 1 after a few steps of a few roundings (6e-8) each.
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


# -- against PyTorch ------------------------------------------------------------------------------


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    made = {
        "lr": draw(st.sampled_from([0.0, 0.1])),
        "momentum": draw(st.sampled_from([0, 0.9])),
        "dampening": draw(st.sampled_from([0, 0.3])),
        "weight_decay": draw(st.sampled_from([0, 0.1])),
        "maximize": draw(st.booleans()),
    }
    if made["momentum"] and not made["dampening"]:
        made["nesterov"] = draw(st.booleans())
    return made


def _check_against_torch(where: str, how: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    mine = _leaves(where)
    other = [torch.tensor(v, requires_grad=True) for v in _values(mine)]
    ours, theirs = optim.SGD(mine, **how), torch.optim.SGD(other, **how)
    for step in range(3):
        # The second parameter has its first momentum step one step after the others.
        absent = (1,) if step == 0 else ()
        _set_gradients(mine, lambda g: gpunn.tensor(g, device=where), step, absent)
        _set_gradients(other, torch.tensor, step, absent)
        if step == 2:
            ours.param_groups[0]["lr"] = theirs.param_groups[0]["lr"] = 0.05
        ours.step()
        theirs.step()
        _close(_values(mine), _values(other))


@given(options())
@settings(max_examples=60, deadline=None)
def test_matches_torch_on_cpu(how: dict[str, Any]) -> None:
    _check_against_torch("cpu", how)


@given(options())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, how: dict[str, Any]) -> None:
    _check_against_torch(kernels, how)


def test_defaults_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    ours = optim.SGD(_leaves()).param_groups[0]
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)]).param_groups[0]
    assert {k: ours[k] for k in ours if k != "params"} == {k: theirs[k] for k in ours if k != "params"}


@pytest.mark.parametrize("where", EVERYWHERE)
def test_groups_with_options_of_their_own_match_torch(where: str) -> None:
    torch = pytest.importorskip("torch")
    mine = _leaves(where)
    other = [torch.tensor(v, requires_grad=True) for v in _values(mine)]

    def groups(p: list[Any]) -> list[dict[str, Any]]:
        return [{"params": p[:1], "lr": 0.5}, {"params": p[1:], "weight_decay": 0.1}]

    ours, theirs = optim.SGD(groups(mine), lr=0.1, momentum=0.9), torch.optim.SGD(groups(other), lr=0.1, momentum=0.9)
    for step in range(2):
        _set_gradients(mine, lambda g: gpunn.tensor(g, device=where), step)
        _set_gradients(other, torch.tensor, step)
        ours.step()
        theirs.step()
    _close(_values(mine), _values(other))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_state_moves_from_torch_and_back(where: str) -> None:
    torch = pytest.importorskip("torch")
    mine = _leaves(where)
    other = [torch.tensor(v, requires_grad=True) for v in _values(mine)]
    theirs = torch.optim.SGD(other, lr=0.1, momentum=0.9)
    _set_gradients(other, torch.tensor, 0)
    theirs.step()
    for p, q in zip(mine, other, strict=True):
        p.data.copy_(q.detach().numpy())
    ours = optim.SGD(mine, lr=3.0)
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["momentum"] == 0.9
    _set_gradients(mine, lambda g: gpunn.tensor(g, device=where), 1)
    _set_gradients(other, torch.tensor, 1)
    ours.step()
    theirs.step()
    _close(_values(mine), _values(other))
    saved = ours.state_dict()
    assert set(saved) == set(theirs.state_dict())
    assert saved["param_groups"][0]["params"] == theirs.state_dict()["param_groups"][0]["params"]
    for i, state in theirs.state_dict()["state"].items():
        _close([saved["state"][i]["momentum_buffer"].numpy()], [state["momentum_buffer"].numpy()])


# -- without PyTorch ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
def test_worked_steps(where: str) -> None:
    """p = 1, gradient 1, lr 0.1, momentum 0.5: m = 1, 1.5; p = 0.9, 0.75."""
    p = gpunn.ones(1, dtype=np.float64, device=where, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    p.grad = gpunn.ones(1, dtype=np.float64, device=where)
    for expected in (0.9, 0.75):
        optimizer.step()
        assert p.item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_updates_in_place_and_the_tape_notices(where: str) -> None:
    p = gpunn.ones(2, 3, 4, 5, device=where, requires_grad=True)
    address, loss = address_of(p.array), (p * p).sum()
    p.grad = gpunn.ones(2, 3, 4, 5, device=where)
    optim.SGD([p], lr=0.5).step()
    assert address_of(p.array) == address
    np.testing.assert_array_equal(p.detach().numpy(), np.full((2, 3, 4, 5), 0.5))
    with pytest.raises(gpunn.errors.GraphError, match="changed in place"):
        loss.backward()


def test_parameters_of_several_dtypes_and_frozen_ones() -> None:
    a, b, c = gpunn.ones(2), gpunn.ones(2, dtype=np.float64), gpunn.ones(2)
    a.grad, b.grad = gpunn.ones(2), gpunn.ones(2, dtype=np.float64)
    optim.SGD([a, b, c], lr=0.5).step()
    assert (a.tolist(), b.tolist(), c.tolist()) == ([0.5, 0.5], [0.5, 0.5], [1, 1])


def test_zero_grad() -> None:
    p = _leaves()[0]
    optimizer = optim.SGD([p])
    p.grad = gradient = gpunn.ones(3)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient
    assert gradient.tolist() == [0, 0, 0]
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is None


def test_state_dict_round_trip_with_images() -> None:
    """Momentum of a 4-d parameter lies in memory in another order than it is written down in."""
    mine = _leaves()
    first = optim.SGD(mine, lr=0.1, momentum=0.9)
    _set_gradients(mine, gpunn.tensor, 0)
    first.step()
    twins = [gpunn.tensor(v, requires_grad=True) for v in _values(mine)]
    second = optim.SGD(twins)
    second.load_state_dict(first.state_dict())
    for params, optimizer in ((mine, first), (twins, second)):
        _set_gradients(params, gpunn.tensor, 1)
        optimizer.step()
    for a, b in zip(_values(mine), _values(twins), strict=True):
        np.testing.assert_array_equal(a, b)
    loaded = second.state_dict()["state"][0]["momentum_buffer"]
    assert not np.shares_memory(loaded.array, first.state_dict()["state"][0]["momentum_buffer"].array)


def test_absent_buffers_may_be_written_down_as_none() -> None:
    p = _leaves()[0]
    optimizer = optim.SGD([p], lr=0.5, momentum=0.9)
    options = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    state = {"state": {0: {"momentum_buffer": None}}, "param_groups": [{**options, "params": [0]}]}
    optimizer.load_state_dict(state)
    before, p.grad = p.detach().numpy().copy(), gpunn.ones(3)
    optimizer.step()
    np.testing.assert_array_equal(p.detach().numpy(), before - np.float32(0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD(p, lr=-1.0), "lr: expected a number >= 0; got -1.0"),
        (lambda p: optim.SGD(p, lr=float("nan")), "lr: expected a number"),
        (lambda p: optim.SGD(p, momentum=-0.1), "momentum"),
        (lambda p: optim.SGD(p, weight_decay=-0.1), "weight_decay"),
        (lambda p: optim.SGD(p, nesterov=True), "nesterov needs momentum"),
        (lambda p: optim.SGD(p, momentum=0.9, dampening=0.1, nesterov=True), "nesterov needs momentum"),
        (lambda p: optim.SGD([]), "empty parameter list"),
        (lambda p: optim.SGD(iter(())), "empty parameter list"),
        (lambda p: optim.SGD([p[0], p[0]]), "appears twice"),
        (lambda p: optim.SGD([{"params": p}, {"params": p[:1]}]), "appears twice"),
        (lambda p: optim.SGD([{"params": p, "lr": -2}]), "lr"),
        (lambda p: optim.SGD([{"lr": 1}]), "a dict with 'params'"),
        (lambda p: optim.SGD(p[0]), "got one Tensor"),
        (lambda p: optim.SGD([np.ones(3)]), "expected Tensors; got ndarray"),
        (lambda p: optim.SGD([p[0] * 2.0]), "not a leaf"),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(_leaves())


@pytest.mark.parametrize("gradient", [np.ones(4, np.float32), np.ones(3), np.ones((3, 1), np.float32)])
def test_refuses_a_gradient_that_does_not_fit(gradient: np.ndarray) -> None:
    p = _leaves()[0]
    p.grad = gpunn.tensor(gradient)
    with pytest.raises(UsageError, match=r"expected a gradient of shape \(3,\), float32 on cpu"):
        optim.SGD([p]).step()


def test_refuses_the_state_of_another_model() -> None:
    a, b = optim.SGD(_leaves(), momentum=0.9), optim.SGD(_leaves(shapes=((4,), (1, 2), (3,))), momentum=0.9)
    _set_gradients(b.param_groups[0]["params"], gpunn.tensor, 0)
    b.step()
    with pytest.raises(UsageError, match="of shape"):
        a.load_state_dict(b.state_dict())
    with pytest.raises(UsageError, match="expected groups of"):
        a.load_state_dict(optim.SGD(_leaves()[:1]).state_dict())


# -- captured -------------------------------------------------------------------------------------


class _Captured:
    """A tiny model whose step is captured: warm-up, capture and one replay have run."""

    def __init__(self, kernels: str, captured: bool = True, **how: Any) -> None:
        gpunn.manual_seed(0)
        self.net = nn.Linear(3, 2).to(kernels)
        self.optimizer = optim.SGD(self.net.parameters(), **{"lr": 0.1, "momentum": 0.9, **how})
        self.labels = gpunn.tensor([0, 1, 1], device=kernels)
        self.x = gpunn.randn(3, 3, device=kernels)
        self.run = gpunn.capture(self._step) if captured else self._step
        for _ in range(3):
            self.run(self.x)

    def _step(self, x: gpunn.Tensor) -> gpunn.Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def weights(self) -> list[float]:
        return [p.detach().numpy().copy() for p in self.net.parameters()]


@pytest.mark.parametrize("change", [{"lr": 0.02}, {"momentum": 0.5}, {"weight_decay": 0.1}, {"maximize": True}])
def test_a_replay_sees_changed_numbers(kernels: str, change: dict[str, Any]) -> None:
    runs = _Captured(kernels), _Captured(kernels, captured=False)
    for run in runs:
        run.optimizer.param_groups[0].update(change)
        run.run(run.x)
    for a, b in zip(*(run.weights() for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_replay_uses_a_state_that_was_loaded_after_the_capture(kernels: str) -> None:
    donor = _Captured(kernels, lr=0.3)
    runs = _Captured(kernels), _Captured(kernels, captured=False)
    for run in runs:
        run.optimizer.load_state_dict(donor.optimizer.state_dict())
        run.run(run.x)
    for a, b in zip(*(run.weights() for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("change", [{"momentum": 0}, {"nesterov": True}])
def test_a_replay_refuses_another_form_of_the_rule(kernels: str, change: dict[str, Any]) -> None:
    run = _Captured(kernels)
    run.optimizer.param_groups[0].update(change)
    before = run.weights()
    with pytest.raises(CaptureError, match="capture it again"):
        run.run(run.x)
    for a, b in zip(run.weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_replay_refuses_buffers_that_are_gone(kernels: str) -> None:
    run = _Captured(kernels)
    run.optimizer.load_state_dict(optim.SGD(run.net.parameters()).state_dict())
    run.optimizer.param_groups[0]["momentum"] = 0.9
    with pytest.raises(CaptureError, match="momentum buffers were replaced"):
        run.run(run.x)


def test_a_first_step_cannot_be_captured(kernels: str) -> None:
    """On a GPU the zeroing of new memory would be captured too, and set the learning rate to 0 in every replay."""
    p = gpunn.ones(3, device=kernels, requires_grad=True)
    p.grad = gpunn.ones(3, device=kernels)
    optimizer, started = optim.SGD([p], lr=0.5), list[bool]()

    def step(x: gpunn.Tensor) -> None:
        if started:
            optimizer.step()
        started.append(True)

    captured = gpunn.capture(step)
    x = gpunn.ones(1, device=kernels)
    captured(x)
    with pytest.raises(CaptureError, match="cannot be captured; run one step first"):
        captured(x)
