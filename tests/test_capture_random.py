"""Random numbers that a captured step draws on the host: before each replay, in the order of an eager step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn import nn
from gpunn.errors import CaptureError
from gpunn.nn import functional as F

gpunn: Any = typed

DRAWS: dict[str, Callable[[Any], Any]] = {
    "rand": lambda x: gpunn.rand(3, 4, device=x.device),
    "randn_like": lambda x: gpunn.randn_like(x),
    "randint": lambda x: gpunn.randint(-2, 9, (3, 4), device=x.device).float(),
    "randperm": lambda x: gpunn.randperm(12, device=x.device).reshape(3, 4).float(),
    "normal": lambda x: gpunn.normal(1.0, 2.0, (3, 4), device=x.device),
    "normal of a tensor": lambda x: gpunn.normal(x, 0.5),
    "normal_": lambda x: gpunn.empty_like(x).normal_(1.0, 2.0),
    "uniform_": lambda x: gpunn.empty_like(x).uniform_(-1.0, 2.0),
    "images": lambda x: gpunn.rand(2, 3, 2, 1, device=x.device).reshape(3, 4),
    "changed in place": lambda x: gpunn.randn(3, 4, device=x.device).mul_(x).add_(1),
    "no numbers": lambda x: x + gpunn.rand(0, device=x.device).sum(),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x, 0.5, hard=True),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "several of a shape": lambda x: gpunn.rand_like(x) - gpunn.randn_like(x) * gpunn.rand_like(x),
}


def _results(call: Any, kernels: str, calls: int = 5) -> list[Any]:
    gpunn.manual_seed(3)
    results = []
    for seed in range(calls):
        values = np.random.Generator(np.random.Philox(seed)).standard_normal((3, 4)).astype(np.float32)
        results.append(call(gpunn.tensor(values, device=kernels)).tolist())
    return [*results, gpunn.rand(2).tolist()]  # and the generator stands where it should


@pytest.mark.parametrize("draw", DRAWS)
def test_each_replay_draws_what_an_eager_step_draws(kernels: str, draw: str) -> None:
    eager = _results(lambda x: DRAWS[draw](x) * 2, kernels)
    captured = gpunn.capture(lambda x: DRAWS[draw](x) * 2)
    found = _results(captured, kernels)
    assert found == eager
    assert captured.graphs == 1
    assert found[0] != found[1]


def test_masks_of_dropout_and_numbers_of_the_host_take_turns(kernels: str) -> None:
    def run(captured: bool) -> list[Any]:
        gpunn.manual_seed(4)
        layer = nn.Dropout(0.5)

        def step(x: Any) -> Any:
            return gpunn.randn_like(x) + layer(x) * gpunn.rand_like(x)

        return _results(gpunn.capture(step) if captured else step, kernels)

    assert run(True) == run(False)


def test_the_step_of_a_variational_autoencoder(kernels: str) -> None:
    def run(captured: bool) -> list[Any]:
        gpunn.manual_seed(5)
        encode, decode = nn.Linear(4, 4).to(kernels), nn.Linear(2, 4).to(kernels)
        optimizer = gpunn.optim.Adam([*encode.parameters(), *decode.parameters()], 0.01)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            mean, log_variance = encode(x).chunk(2, 1)
            z = mean + gpunn.randn_like(mean) * (0.5 * log_variance).exp()
            loss = F.mse_loss(decode(z), x) - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
            loss.backward()
            optimizer.step()
            return loss

        call = gpunn.capture(step) if captured else step
        losses = _results(call, kernels)
        return [losses, *(p.tolist() for p in (*encode.parameters(), *decode.parameters()))]

    assert run(True) == run(False)


def test_two_shapes_have_a_graph_each(kernels: str) -> None:
    def results(call: Any) -> list[Any]:
        gpunn.manual_seed(3)
        return [call(gpunn.zeros(n, device=kernels)).tolist() for n in (2, 3, 2, 3, 3, 2)]

    captured = gpunn.capture(lambda x: x + gpunn.rand_like(x))
    assert results(captured) == results(lambda x: x + gpunn.rand_like(x))
    assert captured.graphs == 2


def test_a_generator_of_ones_own(kernels: str) -> None:
    def results(capture: bool) -> list[Any]:
        source = gpunn.Generator(7)

        def step(x: Any) -> Any:
            return x + gpunn.rand(2, device=kernels, generator=source)

        call = gpunn.capture(step) if capture else step
        return [call(gpunn.zeros(2, device=kernels)).tolist() for _ in range(4)]

    assert results(True) == results(False)


def test_what_cannot_be_drawn_again_is_refused(kernels: str) -> None:
    x, calls = gpunn.zeros(2, device=kernels), []

    def more(x: Any) -> Any:
        calls.append(x)
        return sum((gpunn.rand_like(x) for _ in calls), x)

    captured = gpunn.capture(more)
    captured(x)
    with pytest.raises(CaptureError, match=r"more numbers of the host.s, of shape .*same work every time"):
        captured(x)
    elsewhere = gpunn.capture(lambda x: x + gpunn.rand(2, device="cpu").sum().item())
    elsewhere(x)
    with pytest.raises(CaptureError, match=r"rand: numbers on .cpu. in a step on"):
        elsewhere(x)


MADE: dict[str, Callable[[Any], Any]] = {
    "arange": lambda x: gpunn.arange(4, device=x.device) * x,
    "a list": lambda x: x + gpunn.tensor([1.0, 2.0, 3.0, 4.0], device=x.device),
    "new_tensor": lambda x: x * x.new_tensor(3.0),
    "linspace": lambda x: gpunn.linspace(0, 1, 4, device=x.device) - x,
    "changed in place": lambda x: gpunn.tensor([[1.0, 2.0, 3.0, 4.0]] * 3, device=x.device).mul_(x),
    "images": lambda x: gpunn.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], device=x.device).reshape(4) + x,
}


@pytest.mark.parametrize("make", MADE)
def test_constants_of_the_host_are_the_same_in_each_replay(kernels: str, make: str) -> None:
    assert _results(gpunn.capture(MADE[make]), kernels) == _results(MADE[make], kernels)
