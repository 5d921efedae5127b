"""Hooks of modules: before forward, after it, and when gradients are known; against PyTorch's."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError


class Mixer(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, a, b, scale=1.0):
        return self.fc(a) * b * scale, a + b


def pair(seed: int) -> tuple[gpunn.Tensor, gpunn.Tensor]:
    rng = np.random.Generator(np.random.Philox(seed))
    a, b = (gpunn.tensor(rng.standard_normal((4, 3)), requires_grad=True) for _ in range(2))
    return a, b


def test_pre_hooks_see_and_may_replace_the_inputs() -> None:
    layer = nn.Linear(3, 2).double()
    x, _ = pair(0)
    seen = []
    with layer.register_forward_pre_hook(lambda module, args: seen.append((module, args))):
        y = layer(x)
    assert seen == [(layer, (x,))]
    with layer.register_forward_pre_hook(lambda module, args: args[0] * 2):
        doubled = layer(x).detach().numpy()
    np.testing.assert_array_equal(doubled, layer(2 * x).detach().numpy())
    np.testing.assert_array_equal(layer(x).detach().numpy(), y.detach().numpy())


def test_backward_hook_sees_the_gradients_of_all_inputs_and_outputs() -> None:
    module = Mixer().double()
    seen = []
    handle = module.register_full_backward_hook(lambda *given: seen.append(given))
    a, b = pair(1)
    first, _ = module(a, b, scale=3.0)
    (first * 2).sum().backward(retain_graph=True)
    ((owner, dx, dy),) = seen
    assert owner is module
    np.testing.assert_array_equal(dy[0].numpy(), np.full((4, 3), 2.0))
    np.testing.assert_array_equal(dy[1].numpy(), np.zeros((4, 3)))
    np.testing.assert_array_equal(dx[0].numpy(), a.grad.numpy())
    np.testing.assert_array_equal(dx[1].numpy(), b.grad.numpy())
    handle.remove()
    module(a, b)[0].sum().backward()
    assert len(seen) == 1


def test_backward_hook_leaves_numbers_as_they_are() -> None:
    module = Mixer().double()

    def gradients() -> list[np.ndarray]:
        a, b = pair(2)
        module.zero_grad()
        first, second = module(a, b)
        (first * first + second).sum().backward()
        return [t.grad.numpy().copy() for t in (a, b, *module.parameters())]

    plain = gradients()
    with module.register_full_backward_hook(lambda *given: None):
        watched = gradients()
    for got, expected in zip(watched, plain, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_backward_hook_may_replace_the_inputs_gradients() -> None:
    module = Mixer().double()
    a, b = pair(3)
    with module.register_full_backward_hook(lambda module, dx, dy: (dx[0] * 0, dx[1])):
        module(a, b)[1].sum().backward()
    assert not a.grad.numpy().any()
    assert b.grad.numpy().all()
    with (
        module.register_full_backward_hook(lambda module, dx, dy: (dx[0],)),
        pytest.raises(ShapeError, match="Mixer: expected a backward hook to return 2 gradients"),
    ):
        module(a, b)[1].sum().backward()


def test_backward_hook_where_no_input_asks() -> None:
    """A first layer: its inputs need no gradient, its parameters do."""
    layer = nn.Linear(3, 2).double()
    seen = []
    layer.register_full_backward_hook(lambda *given: seen.append(given))
    layer(pair(4)[0].detach()).sum().backward()
    ((_, dx, dy),) = seen
    assert dx == (None,)
    assert dy[0].shape == (4, 2)


def test_backward_hooks_match_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    mine = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = np.random.Generator(np.random.Philox(5)).standard_normal((6, 3))
    records: list[list] = []
    for net, leaf in ((mine, gpunn.tensor(x, requires_grad=True)), (theirs, torch.tensor(x, requires_grad=True))):
        order: list = []
        for name, module in net.named_children():
            module.register_full_backward_hook(
                lambda module, dx, dy, name=name, order=order: order.append((name, dx[0].numpy(), dy[0].numpy()))
            )
        (net(leaf) ** 2).sum().backward()
        records.append(order)
    assert [name for name, *_ in records[0]] == [name for name, *_ in records[1]] == ["2", "1", "0"]
    for got, expected in zip(*records, strict=True):
        for a, b in zip(got[1:], expected[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_a_hooked_layer_is_not_fused() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    assert len(nn.fused_pairs(net)) == 1
    for register in (net[0].register_forward_pre_hook, net[1].register_full_backward_hook):
        with register(lambda *given: None):
            assert nn.fused_pairs(net) == []


def test_refuses_what_cannot_be_called() -> None:
    with pytest.raises(UsageError, match="expected a hook that can be called; got int"):
        nn.ReLU().register_forward_hook(cast(Any, 3))


def test_getting_by_dotted_name() -> None:
    net: Any = nn.Sequential(nn.Sequential(nn.Linear(2, 3)), nn.BatchNorm1d(3))
    assert net.get_submodule("") is net
    assert net.get_submodule("0.0") is net[0][0]
    assert net.get_parameter("0.0.weight") is net[0][0].weight
    assert net.get_buffer("1.running_mean") is net[1].running_mean
    for get, name in ((net.get_submodule, "0.0.weight"), (net.get_parameter, "0.0"), (net.get_buffer, "0.9")):
        with pytest.raises(AttributeError):
            get(name)
