"""A captured step repeats what the step did, and nothing of it happens only once.

On the emulator a capture postpones every launch and replay runs exactly those, as a CUDA graph does;
so whatever a step does besides launching is missing from the replay, and these tests see it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import CaptureError


class Net(nn.Module):
    """Every op of the slice: convolution, norm, pooling, dropout, residual addition, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        y = nn.functional.relu(self.norm(self.conv1(x)))
        y = self.pool(y + self.conv2(y))
        return self.fc(self.drop(y.flatten(1)))


def batches(kernels: str, count: int, size: int = 5) -> list[tuple[gpunn.Tensor, gpunn.Tensor]]:
    rng = np.random.Generator(np.random.Philox(4))
    made = []
    for _ in range(count):
        x, labels = rng.standard_normal((size, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, size)
        made.append((gpunn.tensor(x, device=kernels), gpunn.tensor(labels, device=kernels)))
    return made


class Run:
    """One training run, captured or not, from the same seed."""

    def __init__(self, kernels: str, captured: bool) -> None:
        gpunn.manual_seed(1)
        self.net = Net().to(kernels)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
        self.step: Any = gpunn.capture(self._step) if captured else self._step

    def _step(self, x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def state(self) -> dict[str, bytes]:
        return {name: t.detach().numpy().tobytes() for name, t in self.net.state_dict().items()}


def test_captured_equals_eager_to_the_bit(kernels: str) -> None:
    """Parameters, batch-norm statistics and counters, dropout masks: after warm-up, capture and replays."""
    eager, captured = Run(kernels, False), Run(kernels, True)
    for x, labels in batches(kernels, 5):
        a, b = eager.step(x, labels), captured.step(x, labels)
        assert a.item() == b.item()
    assert captured.step.graphs == 1
    assert captured.state() == eager.state()
    for name, p in captured.net.named_parameters():
        other = dict(eager.net.named_parameters())[name]
        assert p.grad.numpy().tobytes() == other.grad.numpy().tobytes(), name


def test_new_learning_rate_takes_effect_on_replay(kernels: str) -> None:
    eager, captured = Run(kernels, False), Run(kernels, True)
    for number, (x, labels) in enumerate(batches(kernels, 5)):
        for run in (eager, captured):
            run.optimizer.param_groups[0]["lr"] = 0.1 / (number + 1)
            run.step(x, labels)
    assert captured.step.graphs == 1
    assert captured.state() == eager.state()


def test_masks_differ_between_replays_and_resume_after_them(kernels: str) -> None:
    run = Run(kernels, True)
    x, labels = batches(kernels, 1)[0]
    run.optimizer.param_groups[0]["lr"] = 0.0
    losses = [run.step(x, labels).item() for _ in range(5)]
    assert len(set(losses)) == 5
    assert run.net.drop.generator.calls == 5


def test_last_smaller_batch_has_its_own_graph(kernels: str) -> None:
    eager, captured = Run(kernels, False), Run(kernels, True)
    sizes = [5, 5, 3, 5, 3, 5, 3]
    given = [batches(kernels, 1, n)[0] for n in sizes]
    for x, labels in given:
        assert eager.step(x, labels).item() == captured.step(x, labels).item()
    assert captured.step.graphs == 2
    assert captured.state() == eager.state()


def test_freezing_and_eval_make_a_new_graph(kernels: str) -> None:
    eager, captured = Run(kernels, False), Run(kernels, True)
    given = batches(kernels, 8)
    for run in (eager, captured):
        for number, (x, labels) in enumerate(given):
            if number == 3:
                run.net.conv1.requires_grad_(False)
            if number == 5:
                run.net.eval()
            run.step(x, labels)
    assert captured.step.graphs == 3
    assert captured.state() == eager.state()


def test_first_call_in_eval_mode_does_not_make_the_training_step_cold(kernels: str) -> None:
    """Evaluation draws no masks and moves no statistics; what training makes once is made before it is captured."""
    eager, captured = Run(kernels, False), Run(kernels, True)
    for run in (eager, captured):
        forward = run.net if run is eager else gpunn.capture(lambda x, labels, net=run.net: net(x))
        for number, (x, labels) in enumerate(batches(kernels, 5)):
            run.net.train(number > 0)
            forward(x) if run is eager else forward(x, labels)
    assert captured.net.drop.generator.calls == eager.net.drop.generator.calls == 4
    assert captured.state() == eager.state()


def test_moving_parameters_makes_a_new_graph(kernels: str) -> None:
    captured = Run(kernels, True)
    given = batches(kernels, 4)
    for x, labels in given[:3]:
        captured.step(x, labels)
    captured.net.load_state_dict(captured.net.state_dict())  # in place: same storage
    captured.step(*given[3])
    assert captured.step.graphs == 1
    captured.net.to("cpu").to(kernels)
    captured.optimizer.state.clear()
    captured.optimizer.step()  # new momentum buffers, outside the graph
    captured.step(*given[3])
    assert captured.step.graphs == 2


def test_accumulating_gradients_is_another_graph_than_overwriting_them(kernels: str) -> None:
    """Without zero_grad the first call writes gradients, later ones add to them, in the same arrays."""
    runs = []
    for captured in (False, True):
        gpunn.manual_seed(1)
        net = Net().to(kernels)

        def step(x: gpunn.Tensor, labels: gpunn.Tensor, net: Net = net) -> gpunn.Tensor:
            loss = nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            return loss

        call = gpunn.capture(step) if captured else step
        for number, (x, labels) in enumerate(batches(kernels, 7)):
            if number in (3, 5):
                net.zero_grad()
            call(x, labels)
        runs.append({name: p.grad.numpy().tobytes() for name, p in net.named_parameters()})
    assert runs[0] == runs[1]


def test_two_models_at_once(kernels: str) -> None:
    eager, captured = [Run(kernels, False), Run(kernels, False)], [Run(kernels, True), Run(kernels, True)]
    for x, labels in batches(kernels, 4):
        for run in (*eager, *captured):
            run.step(x, labels)
    for a, b in zip(eager, captured, strict=True):
        assert a.state() == b.state()


def test_reading_a_value_inside_the_step_raises(kernels: str) -> None:
    run = Run(kernels, True)

    def step(x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        loss = run._step(x, labels)
        loss.item()
        return loss

    captured = gpunn.capture(step)
    x, labels = batches(kernels, 1)[0]
    captured(x, labels)
    with pytest.raises(CaptureError, match="reading a tensor's values inside a captured step"):
        captured(x, labels)


def test_an_op_without_a_kernel_raises_naming_itself(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunn.ops.relu import relu_forward

    run = Run(kernels, True)
    monkeypatch.setattr(relu_forward, "kernel_body", None)
    run.step(*batches(kernels, 1)[0])
    with pytest.raises(CaptureError, match="relu_forward has no kernel"):
        run.step(*batches(kernels, 1)[0])
    monkeypatch.undo()
    run.step(*batches(kernels, 1)[0])  # and goes on once it has one


def test_first_step_of_momentum_cannot_be_captured(kernels: str) -> None:
    run = Run(kernels, False)
    captured = gpunn.capture(run._step)
    x, labels = batches(kernels, 1)[0]
    captured(x, labels)
    run.optimizer.state.clear()
    with pytest.raises(CaptureError, match="momentum buffers"):
        captured(x, labels)


def test_captured_on_cpu_is_the_function_itself() -> None:
    calls = []
    step = gpunn.capture(lambda x: calls.append(1) or x)
    x = gpunn.zeros(2)
    assert step(x) is x
    assert step(x) is x
    assert len(calls) == 2


def test_eager_backward_is_not_disturbed_by_a_replay_in_between(kernels: str) -> None:
    """A captured step moves its own place in the stream, not that of masks drawn outside."""
    layer = nn.Dropout(0.5)
    step = gpunn.capture(lambda x: layer(x))
    x = gpunn.ones(64, device=kernels)
    for _ in range(3):
        step(x)
    leaf = gpunn.ones(64, device=kernels, requires_grad=True)
    y = layer(leaf)
    step(x)
    y.backward(gpunn.ones(64, device=kernels))
    np.testing.assert_array_equal(leaf.grad.numpy(), y.detach().numpy())
