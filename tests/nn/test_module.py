"""Module: registration, walking, modes, moving, saving and loading, errors with the layer's name."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import device
from gpunn.errors import (
    DeviceError,
    DTypeError,
    GraphError,
    ShapeError,
    UsageError,
    module_stack,
)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(Block(), nn.ReLU(), nn.MaxPool2d(2))
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * 4 * 4, 5)
        self.scale = nn.Parameter(gpunn.ones(1))
        self.register_buffer("steps", gpunn.zeros(2))
        self.register_buffer("scratch", gpunn.zeros(3), persistent=False)
        self.plain = 7

    def forward(self, x):
        return self.fc(self.flatten(self.features(x))) * self.scale


PARAMETERS = [
    "scale",
    "features.0.conv.weight",
    "features.0.conv.bias",
    "features.0.norm.weight",
    "features.0.norm.bias",
    "fc.weight",
    "fc.bias",
]


def image(*shape: int) -> gpunn.Tensor:
    return gpunn.randn(*shape)


# -- registration and walking ----------------------------------------------------------------


def test_walks_in_registration_order() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == PARAMETERS
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "features",
        "features.0",
        "features.0.conv",
        "features.0.norm",
        "features.1",
        "features.2",
        "flatten",
        "fc",
    ]
    assert [name for name, _ in net.named_children()] == ["features", "flatten", "fc"]
    assert list(net.children()) == [net.features, net.flatten, net.fc]
    assert [name for name, _ in net.named_buffers()][:2] == ["steps", "scratch"]
    assert [name for name, _ in net.named_parameters("net", recurse=False)] == ["net.scale"]
    assert len(list(net.parameters(recurse=False))) == 1


def test_shared_parameters_and_modules_come_once_but_have_all_their_names_in_the_state() -> None:
    net = nn.Module()
    net.first = nn.Linear(3, 3)
    net.second = net.first
    net.third = nn.Linear(3, 3)
    net.third.weight = net.first.weight
    assert [name for name, _ in net.named_modules()] == ["", "first", "third"]
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "first.bias", "third.bias"]
    assert [name for name, _ in net.named_children()] == ["first", "third"]
    assert list(net.state_dict()) == [
        f"{place}.{name}" for place in ("first", "second", "third") for name in ("weight", "bias")
    ]


def test_attributes_change_their_meaning_only_where_that_is_clear() -> None:
    net: Any = Net()
    net.plain = nn.ReLU()
    assert "plain" in dict(net.named_children())
    net.plain = None
    assert net.plain is None
    del net.plain
    net.plain = 3
    assert net.plain == 3
    assert "fc" in dir(net)
    assert "scale" in dir(net)
    net.fc = nn.Linear(2, 2)
    assert net.fc.in_features == 2
    net.steps = gpunn.ones(4)
    assert dict(net.named_buffers())["steps"].shape == (4,)
    with pytest.raises(UsageError, match=r"Net.scale: expected nn.Parameter or None; got Tensor"):
        net.scale = gpunn.ones(1)
    with pytest.raises(UsageError, match=r"Net.fc: expected nn.Module or None; got int"):
        net.fc = 3
    with pytest.raises(UsageError, match=r"Net.steps: expected Tensor or None; got list"):
        net.steps = [1]
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nothing'"):
        _ = net.nothing
    with pytest.raises(AttributeError):
        del net.nothing


def test_registering_under_an_impossible_name_says_why() -> None:
    net: Any = Net()
    for name in ("a.b", "", 3):
        with pytest.raises(UsageError, match="must be a string"):
            net.register_buffer(name, None)
    for register, value in (
        (net.register_buffer, gpunn.zeros(1)),
        (net.register_parameter, nn.Parameter(gpunn.zeros(1))),
        (net.add_module, nn.ReLU()),
    ):
        with pytest.raises(UsageError, match="'plain' is an attribute already"):
            register("plain", value)
        with pytest.raises(UsageError, match="expected"):
            register("fresh", "text")
    net.register_parameter("later", None)
    assert net.later is None
    assert "later" not in net.state_dict()


def test_forgetting_super_init_is_told() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(2, 2)

    class Empty(nn.Module):
        def __init__(self) -> None:
            self.number = 3

        def forward(self, x):
            return x

    with pytest.raises(UsageError, match=r"Forgetful: call super\(\).__init__\(\) before assigning 'fc'"):
        Forgetful()
    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\)"):
        Empty()(gpunn.zeros(1))


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        nn.Module()()


def test_containers() -> None:
    layers = nn.Sequential(OrderedDict([("fc1", nn.Linear(4, 3)), ("act", nn.ReLU()), ("fc2", nn.Linear(3, 2))]))
    assert list(layers.state_dict()) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert len(layers) == 3
    assert layers[0] is layers.fc1
    assert layers[-1] is layers.fc2
    assert list(layers[1:].state_dict()) == ["fc2.weight", "fc2.bias"]
    assert layers[:2][0] is layers.fc1
    layers[1] = nn.Flatten()
    assert isinstance(layers.act, nn.Flatten)
    numbered = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).append(nn.ReLU())
    assert [name for name, _ in numbered.named_children()] == ["0", "1", "2", "3"]
    assert [name for name, _ in numbered[2:].append(nn.ReLU()).named_children()] == ["2", "3", "4"]
    with pytest.raises(IndexError, match="no module 4; there are 4"):
        numbered[4]
    with pytest.raises(UsageError, match=r"Sequential: expected modules; got type at '0'. Give an instance"):
        nn.Sequential(cast(Any, nn.ReLU))
    several = nn.ModuleList([nn.Linear(2, 2)])
    several.extend([nn.ReLU(), nn.Linear(2, 1)])
    assert [type(m).__name__ for m in several] == ["Linear", "ReLU", "Linear"]
    assert list(several.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(several[1:]) == 2
    with pytest.raises(UsageError, match="a list cannot be called"):
        several(1)


# -- modes, hooks, apply -----------------------------------------------------------------------


def test_modes_and_freezing() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())
    seen: list[str] = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == [
        "Conv2d",
        "BatchNorm2d",
        "Block",
        "ReLU",
        "MaxPool2d",
        "Sequential",
        "Flatten",
        "Linear",
        "Net",
    ]


def test_zero_grad() -> None:
    layer = nn.Linear(3, 2)
    layer(image(4, 3)).sum().backward()
    held = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad is held
    assert not held.numpy().any()
    layer.zero_grad()
    assert layer.weight.grad is None


def test_forward_hooks_see_and_may_replace_the_output() -> None:
    layer = nn.Linear(3, 2)
    x = image(4, 3)
    seen = []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append((module, args, output)))
    y = layer(x)
    assert seen == [(layer, (x,), y)]
    with layer.register_forward_hook(lambda module, args, output: output * 2):
        np.testing.assert_array_equal(layer(x).detach().numpy(), 2 * y.detach().numpy())
    handle.remove()
    handle.remove()
    layer(x)
    assert len(seen) == 2


# -- errors name the layer -----------------------------------------------------------------------


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7)
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()), nn.Linear(5, 2))
        self.heads = nn.ModuleList([nn.Linear(5, 2)])

    def forward(self, x, part="conv1"):
        if part == "head":
            return self.heads[0](x)
        return self.conv1(x) if part == "conv1" else self.features(x)


def test_errors_name_the_layer_by_its_place_in_the_model() -> None:
    net = Named()
    with pytest.raises(ShapeError) as caught:
        net(image(8, 1, 224, 224))
    assert str(caught.value) == (
        "conv1 (Conv2d): expected 3 input channels to match weight (64, 3, 7, 7); got x of shape (8, 1, 224, 224)."
    )
    with pytest.raises(ShapeError, match=r"^features\.0\.0 \(Conv2d\): expected 4 input channels"):
        net(image(1, 3, 9, 9), part="features")
    with pytest.raises(ShapeError, match=r"^heads\.0 \(Linear\): expected 5 input features"):
        net(image(2, 6), part="head")
    with pytest.raises(DTypeError, match=r"^conv1 \(Conv2d\): expected one floating dtype; got float64, float32"):
        net(image(1, 3, 9, 9).double())
    with pytest.raises(ShapeError, match=r"^conv1 \(Conv2d\): expected x \(N, C, H, W\)"):
        net(image(9, 9))
    with pytest.raises(ShapeError, match=r"^conv1 \(Conv2d\): the window is 7 in height"):
        net(image(1, 3, 6, 9))
    assert module_stack.modules == []


def test_errors_name_a_layer_that_is_called_alone_by_its_class() -> None:
    with pytest.raises(ShapeError, match=r"^Conv2d: expected 3 input channels"):
        nn.Conv2d(3, 4, 3)(image(1, 1, 9, 9))
    with pytest.raises(ShapeError, match=r"^BatchNorm2d: expected x of shape \(N, C, H, W\)"):
        nn.BatchNorm2d(3)(image(2, 3))
    with pytest.raises(ShapeError, match=r"^BatchNorm1d: expected x of shape \(N, C\) or \(N, C, L\)"):
        nn.BatchNorm1d(3)(image(2, 3, 4, 4))


def test_mixed_devices_name_the_layer_and_both(kernels: str) -> None:
    with pytest.raises(DeviceError, match=rf"^conv1 \(Conv2d\): inputs are on different devices, cpu and {kernels}"):
        Named().to(kernels)(image(1, 3, 9, 9))


# -- moving ----------------------------------------------------------------------------------


def test_to_a_device_keeps_the_objects(kernels: str) -> None:
    net = Net()
    parameters, before = list(net.parameters()), {k: v.numpy().copy() for k, v in net.state_dict().items()}
    net.fc.weight.grad = gpunn.ones(*net.fc.weight.shape)
    assert net.to(kernels) is net
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert {t.device for t in (*net.parameters(), *net.buffers(), net.fc.weight.grad)} == {device(kernels)}
    held = net.fc.weight.array
    net.to(device(kernels))
    assert net.fc.weight.array is held
    net.cpu()
    assert {t.device.name for t in (*net.parameters(), *net.buffers())} == {"cpu"}
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_to_a_dtype_leaves_integers() -> None:
    net = Net().double()
    kinds = {name: tensor.dtype.name for name, tensor in net.state_dict().items()}
    assert kinds.pop("features.0.norm.num_batches_tracked") == "int64"
    assert set(kinds.values()) == {"float64"}
    assert net(image(2, 3, 8, 8).double()).dtype == np.float64
    assert {p.dtype.name for p in net.to("float32").parameters()} == {"float32"}
    assert {p.dtype.name for p in net.to("cpu", dtype=gpunn.float64).parameters()} == {"float64"}
    assert {p.dtype.name for p in net.float().parameters()} == {"float32"}
    with pytest.raises(DTypeError, match=r"Net.to: expected a floating dtype; got int64"):
        net.to(gpunn.int64)


def test_moving_between_forward_and_backward_is_an_error_and_not_a_wrong_gradient() -> None:
    layer = nn.Linear(3, 2)
    y = layer(gpunn.randn(4, 3, requires_grad=True)).sum()
    layer.double()
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_keep_the_layout(duplicate) -> None:
    net = Net()
    net(image(2, 3, 8, 8)).sum().backward()
    twin = duplicate(net)
    conv, other = net.features[0].conv, twin.features[0].conv
    assert type(other.weight) is nn.Parameter
    assert other.weight.array.strides == conv.weight.array.strides
    np.testing.assert_array_equal(other.weight.grad.numpy(), conv.weight.grad.numpy())
    with gpunn.no_grad():
        other.weight.fill_(0)
    assert not other.weight.detach().numpy().any()
    assert conv.weight.detach().numpy().any()
    twin.features[0].norm.running_mean.fill_(9)
    assert not (net.features[0].norm.running_mean.numpy() == 9).any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copied_tensors_can_be_written_in_place(duplicate) -> None:
    tensor = gpunn.randn(2, 3, 4, 5)
    twin = duplicate(tensor)
    assert twin.array.strides == tensor.array.strides
    np.testing.assert_array_equal(twin.numpy(), tensor.numpy())
    assert not twin.zero_().numpy().any()
    assert tensor.numpy().any()
    with pytest.raises(UsageError, match="only leaves can be copied"):
        duplicate(gpunn.randn(2, requires_grad=True).sum())
