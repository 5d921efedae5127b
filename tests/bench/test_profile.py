"""The profiler: its rows, that they add up, and that it changes nothing of what it watches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import device
from gpunn.bench import networks
from gpunn.bench.machine import Ceilings
from gpunn.bench.profile import REST, LayerTimes, Profile, profile, random_batch
from gpunn.errors import module_stack
from gpunn.models import LeNet5, ResNetCifar
from gpunn.tape import observe_backward

CPU = device("cpu")


def taken(model: Any, shape: tuple[int, ...], target: Any = CPU, **how: Any) -> tuple[Profile, dict[str, LayerTimes]]:
    x, labels = random_batch(shape, 10, target)
    found = profile(model.to(target), x, labels, **{"steps": 2, "warm_up": 1, **how})
    return found, {row.name: row for row in found.layers}


def test_every_layer_has_a_row_and_rows_add_up() -> None:
    found, rows = taken(LeNet5(), (4, 1, 28, 28))
    for name in ("conv1", "conv2", "fc1", "fc2"):
        assert rows[name].forward_ms > 0, name
        assert rows[name].backward_ms > 0, name
    assert rows["pool1"].ms == 0  # a part of conv1's, in both directions
    assert rows["CrossEntropyLoss"].ms > 0
    assert rows["update"].ms > 0
    assert sum(row.ms for row in found.layers) == pytest.approx(found.step_ms)  # medians of two are means
    assert found.batch == 4
    assert found.loss > 0
    assert found.layers[-1].name == REST


def test_fused_layers_stay_fused() -> None:
    _, rows = taken(LeNet5(), (2, 1, 28, 28))
    assert rows["relu1"].note == "fused into conv1"
    assert rows["relu1"].ms == rows["relu1"].traffic == 0


def test_work_is_that_of_the_benchmark_case() -> None:
    found, rows = taken(LeNet5(), (4, 1, 28, 28))
    network = networks.lenet()
    assert sum(row.flop for row in found.layers) == network.step_flop(4)
    # conv1: input, weights and output forward; dy, input and dweight backward; no dx.
    x, y, weights = 4 * 784, 4 * 20 * 784, 520
    assert rows["conv1"].traffic == 4 * (2 * x + 2 * y + 2 * weights)
    x, y, weights = 4 * 50 * 49, 4 * 500, 500 * 2451
    assert rows["fc1"].traffic == 4 * (3 * x + 2 * y + 3 * weights)


def test_blocks_with_work_of_their_own_and_repeated_layers() -> None:
    _, rows = taken(ResNetCifar(8), (2, 3, 8, 8))
    assert rows["layer2.0.conv1"].backward_ms > 0
    assert rows["layer3.0.bn2"].forward_ms > 0

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(10, 10)

        def forward(self, x: Any) -> Any:
            return gpunn.tanh(self.fc(self.fc(x)))

    found, rows = taken(Twice(), (3, 10))
    assert rows["fc"].flop == 2 * 3 * 100 * (2 + 3)
    assert sum(row.ms for row in found.layers) == pytest.approx(found.step_ms)  # medians of two are means


def test_a_model_without_classes_or_parameters() -> None:
    x, _ = random_batch((2, 1, 6, 6), 2, CPU)
    found = profile(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), x, steps=1, warm_up=0)
    assert "sum" in {row.name for row in found.layers}
    found = profile(nn.Flatten(), x, steps=1, warm_up=0)
    assert "update" not in {row.name for row in found.layers} or found.step_ms > 0


def test_training_is_the_same_while_watched() -> None:
    x, labels = random_batch((4, 1, 28, 28), 10, CPU)
    states = []
    for watched in (True, False):
        gpunn.manual_seed(0)
        model = LeNet5()
        if watched:
            profile(model, x, labels, steps=2, warm_up=1)
        else:
            step = networks.gpunn_step(model)
            for _ in range(3):
                step(x, labels)
        states.append({name: value.numpy() for name, value in model.state_dict().items()})
    for name, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][name], err_msg=name)


def test_nobody_watches_afterwards_even_if_it_fails() -> None:
    x, labels = random_batch((4, 1, 28, 28), 10, CPU)
    stack = module_stack.modules
    profile(LeNet5(), x, labels, steps=1, warm_up=0)
    assert module_stack.modules is stack

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(28, 10)
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            if self.calls > 2:  # it is looked at twice before it is timed
                raise ValueError("on purpose")
            return self.fc(x.flatten(1)[:, :28])

    with pytest.raises(ValueError, match="on purpose"):
        profile(Broken(), x, labels, steps=3, warm_up=0)
    assert module_stack.modules is stack
    assert stack == []


def test_observers_see_each_node_and_nest() -> None:
    seen: list[str] = []

    def watch(label: str) -> Any:
        def observer(node: Any, run: Any) -> Any:
            seen.append(f"{label} {node.op}")
            return run()

        return observer

    x = gpunn.tensor([1.0, 2.0], requires_grad=True)
    with observe_backward(watch("outer")):
        gpunn.exp(x).sum().backward()
        with observe_backward(watch("inner")):
            gpunn.exp(x).sum().backward()
        gpunn.exp(x).sum().backward()
    gpunn.exp(x).sum().backward()
    assert seen == ["outer sum", "outer exp", "inner sum", "inner exp", "outer sum", "outer exp"]
    np.testing.assert_allclose(x.grad.numpy(), 4 * np.exp([1.0, 2.0]), rtol=1e-6)


def test_share_of_ceiling() -> None:
    row = LayerTimes("a", "Linear", 1.0, 1.0, flop=1e8, traffic=1e6)
    found = Profile((row,), 2.0, 1, 0.0)
    assert found.share_of_ceiling(row, Ceilings(100.0, 10.0)) == pytest.approx(0.5)
    assert found.share_of_ceiling(LayerTimes("b", "ReLU", 1.0), Ceilings(1.0, 1.0)) is None


def test_layers_in_kernels(kernels: str) -> None:
    network = LeNet5(channels=(2, 3), hidden=8, image=(8, 8))
    _, rows = taken(network, (2, 1, 8, 8), device(kernels), steps=1, warm_up=0)
    assert rows["conv2"].backward_ms > 0
