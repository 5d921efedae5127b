"""What is thrown away and computed again gives the same gradients, with less memory held meanwhile."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import GraphError, UsageError
from gpunn.utils.checkpoint import checkpoint, checkpoint_sequential
from tests.devices import EVERYWHERE


def _net(where: str) -> nn.Sequential:
    gpunn.manual_seed(5)
    layers = nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 2)
    return nn.Sequential(*layers).to(where)


def _gradients(where: str, run: Any, needs: bool) -> list[Any]:
    net = _net(where)
    values = np.random.Generator(np.random.Philox(1)).standard_normal((5, 4)).astype(np.float32)
    x = gpunn.tensor(values, device=where, requires_grad=needs)
    y = run(net, x)
    y.square().sum().backward()
    after = net(x).tolist()  # the generators have gone on by one mask
    return [y.tolist(), after, [p.grad.tolist() for p in net.parameters()], x.grad.tolist() if needs else None]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("needs", [False, True])
def test_gradients_and_random_numbers_are_the_same(where: str, needs: bool) -> None:
    plain = _gradients(where, lambda net, x: net(x), needs)
    assert _gradients(where, lambda net, x: checkpoint(net, x, use_reentrant=False), needs) == plain
    for segments in (1, 2, 4, 6):
        assert _gradients(where, lambda net, x, n=segments: checkpoint_sequential(net, n, x), needs) == plain

    def nested(net: Any, x: Any) -> Any:
        return checkpoint(lambda v: checkpoint(net[3:], checkpoint(net[:3], v)), x)

    assert _gradients(where, nested, needs) == plain


def test_what_is_between_is_freed_at_once() -> None:
    seen: list[Any] = []

    def part(x: Any) -> Any:
        y = x.exp()
        seen.append(weakref.ref(y._physical.base if y._physical.base is not None else y._physical))
        return y.sin()

    x = gpunn.ones(1000, requires_grad=True)
    y = part(x)
    assert seen[0]() is not None  # sin's gradient needs it
    z = checkpoint(part, x)
    assert seen[1]() is None
    z.sum().backward()
    first, x.grad = x.grad, None
    y.sum().backward()
    assert first is not None
    assert x.grad is not None
    assert first.tolist() == x.grad.tolist()
    assert len(seen) == 3


def test_several_arguments_and_results() -> None:
    def part(a: Any, number: float, b: Any, *, power: int) -> tuple[Any, Any]:
        return a * b * number, (a + b) ** power

    def gradients(call: Any) -> list[Any]:
        a, b = (gpunn.tensor([1.0, 2.0], requires_grad=True), gpunn.tensor([3.0, 4.0], requires_grad=True))
        first, second = call(a, b)
        (first * 2 + second).sum().backward()
        assert a.grad is not None
        assert b.grad is not None
        return [a.grad.tolist(), b.grad.tolist()]

    plain = gradients(lambda a, b: part(a, 3.0, b, power=2))
    assert gradients(lambda a, b: checkpoint(part, a, 3.0, b, power=2)) == plain
    a = gpunn.ones(2, requires_grad=True)
    checkpoint(part, a, 3.0, gpunn.ones(2), power=2)[1].sum().backward()  # the first result gets no gradient
    assert a.grad is not None
    assert a.grad.tolist() == [4.0, 4.0]


def test_grad_asks_for_some_and_leaves_the_rest() -> None:
    net = _net("cpu")
    x = gpunn.ones(3, 4)
    (dw,) = gpunn.autograd.grad(checkpoint(net, x).sum(), [net[0].weight])
    assert dw is not None
    assert dw.shape == (6, 4)
    assert all(p.grad is None for p in net.parameters())


def test_without_gradients_nothing_is_kept() -> None:
    with gpunn.no_grad():
        assert not checkpoint(_net("cpu"), gpunn.ones(3, 4)).requires_grad


def test_a_captured_step_gives_what_an_eager_one_gives(kernels: str) -> None:
    net = _net(kernels).eval()

    def step(x: Any) -> Any:
        net.zero_grad()
        loss = checkpoint(net, x).square().sum()
        loss.backward()
        return loss

    captured: Any = gpunn.capture(step)
    for seed in range(3):
        values = np.random.Generator(np.random.Philox(seed)).standard_normal((5, 4)).astype(np.float32)
        x = gpunn.tensor(values, device=kernels)
        expected = step(x).item(), [p.grad.tolist() for p in net.parameters()]
        assert (captured(x).item(), [p.grad.tolist() for p in net.parameters()]) == expected


def test_mistakes_are_told() -> None:
    x = gpunn.ones(2, requires_grad=True) * 1
    y = checkpoint(gpunn.exp, x)
    x.add_(1)
    with pytest.raises(GraphError, match="changed in place"):
        y.sum().backward()
    with pytest.raises(UsageError, match="something to call"):
        checkpoint(3, x)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="context_fn"):
        checkpoint(gpunn.exp, x, context_fn=print)
    with pytest.raises(UsageError, match="1 to 6"):
        checkpoint_sequential(_net("cpu"), 7, gpunn.ones(3, 4))
