"""A captured step notices every change that its graph cannot follow, by a count and not by looking for it."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn._capture_state import changes
from gpunn.errors import CaptureError

_X = np.random.Generator(np.random.Philox(3)).standard_normal((4, 6)).astype(np.float32)


class _Pair:
    """The same model and optimiser twice: one trains as it is written, the other captured."""

    def __init__(self, kernels: str, rule: type = optim.SGD, **options: float) -> None:
        self.device = kernels
        self.models, self.optimizers, self.steps = [], [], []
        for captured in (False, True):
            gpunn.manual_seed(0)
            model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(kernels)
            optimizer = rule(model.parameters(), lr=0.1, **options)
            step = self._step(model, optimizer)
            self.models.append(model)
            self.optimizers.append(optimizer)
            self.steps.append(gpunn.capture(step) if captured else step)

    @staticmethod
    def _step(model: nn.Module, optimizer: optim.Optimizer):
        def step(x: gpunn.Tensor) -> gpunn.Tensor:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    def run(self, count: int = 3) -> None:
        for number in range(count):
            x = gpunn.tensor(_X + number, device=self.device)
            plain, captured = (step(x).item() for step in self.steps)
            assert captured == plain

    @property
    def graphs(self) -> int:
        return self.steps[1].graphs

    def agree(self) -> None:
        one, other = (m.state_dict() for m in self.models)
        for key, value in one.items():
            np.testing.assert_array_equal(other[key].numpy(), value.numpy(), err_msg=key)


def test_nothing_is_looked_through_while_nothing_changes(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = _Pair(kernels, momentum=0.9)
    pair.run()
    step, model = pair.steps[1], pair.models[1]
    walked: list[str] = []
    monkeypatch.setattr(type(model), "named_modules", lambda self, prefix="": walked.append("walk") or iter(()))
    for _ in range(3):
        step(gpunn.tensor(_X, device=kernels))
    assert not walked
    assert step.graphs == 1


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam])
def test_a_frozen_parameter_is_noticed(kernels: str, rule: type) -> None:
    pair = _Pair(kernels, rule)
    pair.run()
    for model in pair.models:
        model[0].weight.requires_grad = False
    pair.run()
    assert pair.graphs == 2
    for model in pair.models:
        model[0].weight.requires_grad_()
    if rule is optim.SGD:  # Adam would need another bias correction for it
        pair.run()
        assert pair.graphs == 3  # one more for the step at whose beginning it has no gradient yet
    pair.agree()


def test_a_replaced_parameter_is_noticed(kernels: str) -> None:
    pair = _Pair(kernels)
    pair.run()
    for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
        model[2].bias = nn.Parameter(gpunn.ones(3, device=kernels))
        optimizer.param_groups[0]["params"][3] = model[2].bias
    pair.run()
    assert pair.graphs == 3  # without a gradient at the beginning, and with one
    pair.agree()


def test_a_parameter_that_moved_is_noticed(kernels: str) -> None:
    pair = _Pair(kernels, momentum=0.0)
    pair.run()
    for model in pair.models:
        model.to("cpu").to(kernels)
    pair.run()
    pair.agree()


def test_a_gradient_taken_away_between_replays_is_there_after_the_next(kernels: str) -> None:
    pair = _Pair(kernels)
    pair.run()
    for model in pair.models:
        model[0].weight.grad = None
    pair.run()
    one, other = (model[0].weight.grad.numpy() for model in pair.models)
    np.testing.assert_array_equal(other, one)
    for model in pair.models:
        model.zero_grad()
    pair.run(1)
    assert all(p.grad is not None for p in pair.models[1].parameters())


def test_gradients_that_a_step_adds_to_are_those_of_before_it(kernels: str) -> None:
    weight = gpunn.tensor([1.0, 2.0], device=kernels, requires_grad=True)  # no Parameter: nobody counts

    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        loss = (x * weight).sum()
        loss.backward()
        return loss

    captured = gpunn.capture(step)
    x = gpunn.tensor([3.0, 4.0], device=kernels)

    def gradient() -> list[float]:
        captured(x)
        return weight.grad.tolist()

    assert [gradient() for _ in range(3)] == [[3.0, 4.0], [6.0, 8.0], [9.0, 12.0]]
    weight.grad = None
    assert gradient() == [3.0, 4.0]
    weight.grad = gpunn.tensor([100.0, 0.0], device=kernels)
    assert gradient() == [103.0, 4.0]


def test_recording_or_not_makes_two_graphs(kernels: str) -> None:
    model = nn.Linear(6, 2).to(kernels)
    step = gpunn.capture(lambda x: model(x))
    x = gpunn.tensor(_X, device=kernels)
    for _ in range(3):
        assert step(x).requires_grad
        with gpunn.no_grad():
            assert not step(x).requires_grad
    assert step.graphs == 2


def test_steps_of_adam_are_counted_in_one_array_and_stay_apart_if_changed(kernels: str) -> None:
    pair = _Pair(kernels, optim.Adam)
    pair.run(4)
    for optimizer in pair.optimizers:
        steps = [optimizer.state[p]["step"] for p in optimizer.param_groups[0]["params"]]
        assert [s.item() for s in steps] == [4] * 4
        assert all(s.shape == () and s.dtype == np.float32 for s in steps)
    for optimizer in pair.optimizers:
        for p in optimizer.param_groups[0]["params"]:
            optimizer.state[p]["step"] = gpunn.tensor(10.0)
    pair.run()
    pair.agree()
    optimizer = pair.optimizers[1]
    optimizer.state[optimizer.param_groups[0]["params"][0]]["step"].fill_(3)
    with pytest.raises(CaptureError, match="the same step no longer have"):
        pair.steps[1](gpunn.tensor(_X, device=kernels))


@pytest.mark.parametrize(
    "change",
    [
        lambda state, p: state[p].pop("momentum_buffer"),
        lambda state, p: state[p].update(momentum_buffer=state[p]["momentum_buffer"].clone()),
        lambda state, p: state[p].clear(),
        lambda state, p: state.__setitem__(p, {}),
        lambda state, p: state.__delitem__(p),
        lambda state, p: state.clear(),
    ],
)
def test_replaced_buffers_are_refused(kernels: str, change) -> None:
    pair = _Pair(kernels, momentum=0.9)
    pair.run()
    optimizer = pair.optimizers[1]
    change(optimizer.state, optimizer.param_groups[0]["params"][1])
    with pytest.raises(CaptureError, match="momentum buffers were replaced"):
        pair.steps[1](gpunn.tensor(_X, device=kernels))


def test_graphs_that_are_no_longer_replayed_go(kernels: str) -> None:
    model = nn.Linear(1, 1).to(kernels)
    step = gpunn.capture(lambda x: model(x).sum())

    def run(rows: int) -> float:
        return step(gpunn.ones(rows, 1, device=kernels)).item()

    for rows in range(1, 41):
        assert run(rows) == run(rows)
        assert run(1) == run(1)  # used all the time, so it stays
    assert step.graphs == 32
    kept = set(map(id, step._graphs.values()))
    run(1), run(40)
    assert set(map(id, step._graphs.values())) == kept
    assert run(2) == pytest.approx(2 * run(1))


def test_each_kind_of_change_is_counted() -> None:
    model, before = nn.Sequential(nn.Linear(2, 2)), changes.count
    parameter = model[0].weight
    for change in (
        lambda: model.eval(),
        lambda: setattr(parameter, "grad", None),
        lambda: parameter.requires_grad_(False),
        lambda: model.register_buffer("kept", gpunn.zeros(1)),
        lambda: setattr(model, "kept", gpunn.ones(1)),
        lambda: model.append(nn.ReLU()),
        lambda: model.register_parameter("own", nn.Parameter(gpunn.zeros(1))),
        lambda: delattr(model, "own"),
        lambda: nn.ModuleDict({"a": nn.ReLU()}).__delitem__("a"),
        lambda: model.to(np.float64),
    ):
        change()
        assert changes.count > before
        before = changes.count


# -- the calls of a Sequential --------------------------------------------------------------------


def test_a_sequentials_calls_follow_its_changes() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    x = gpunn.tensor(_X)

    def apart(model: nn.Sequential) -> gpunn.Tensor:
        y = x
        for layer in model:
            y = layer(y)
        return y

    seen: list[str] = []
    for change in (
        lambda: model.append(nn.ReLU()),
        lambda: setattr(model, "1", nn.Tanh()),
        lambda: model.__delitem__(1) if hasattr(model, "__delitem__") else delattr(model, "1"),
        lambda: model[0].register_forward_hook(lambda *call: seen.append("hook")),
        lambda: setattr(model[0], "forward", lambda x: x[:, :5] * 2),
    ):
        model(x)
        change()
        np.testing.assert_array_equal(model(x).detach().numpy(), apart(model).detach().numpy())
    assert seen
