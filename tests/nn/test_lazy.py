"""Lazy layers: PyTorch's text, keys and numbers before and after the first batch; loading, moving, copying, errors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import ArgumentError, GpunnError, ShapeError, StateDictError, UsageError

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("LazyLinear", (3,), {}, (2, 5, 4)),
    ("LazyLinear", (3, False), {}, (4,)),
    ("LazyConv1d", (4, 3), {"padding": 1, "groups": 2}, (2, 6, 5)),
    ("LazyConv1d", (4, 3), {"bias": False}, (6, 5)),
    ("LazyConv2d", (4, (3, 2)), {"stride": 2, "padding_mode": "reflect", "padding": 1}, (2, 3, 5, 6)),
    ("LazyConv2d", (4, 3), {}, (3, 5, 6)),
    ("LazyConvTranspose1d", (4, 3), {"stride": 2, "output_padding": 1}, (2, 3, 5)),
    ("LazyConvTranspose2d", (4, 3), {"groups": 2, "bias": False}, (2, 6, 4, 3)),
    ("LazyConvTranspose2d", (4, 3), {}, (6, 4, 3)),
    ("LazyBatchNorm1d", (), {}, (4, 3)),
    ("LazyBatchNorm1d", (0.1, 0.3, False), {}, (4, 3, 2)),
    ("LazyBatchNorm2d", (), {"bias": False}, (4, 3, 2, 2)),
    ("LazyBatchNorm2d", (), {"track_running_stats": False}, (4, 3, 2, 2)),
    ("LazyInstanceNorm1d", (), {}, (2, 3, 5)),
    ("LazyInstanceNorm2d", (), {}, (4, 3, 2, 2)),
    ("LazyInstanceNorm2d", (), {"affine": False}, (2, 3, 2, 2)),
    ("LazyConv3d", (6, (1, 3, 2)), {"stride": 2, "groups": 3}, (2, 3, 3, 5, 6)),
    ("LazyConvTranspose3d", (4, 2), {"output_padding": 1, "stride": 2}, (3, 2, 3, 4)),
    ("LazyBatchNorm3d", (), {}, (4, 3, 2, 2, 2)),
    ("LazyInstanceNorm3d", (), {}, (4, 3, 2, 2, 2)),
]


def _numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS)
def test_becomes_pytorchs_layer(
    name: str, args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    parity = pytest.importorskip("tests.parity")
    ours = getattr(nn, name)(*args, **options)
    theirs = getattr(parity.torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.has_uninitialized_params() == theirs.has_uninitialized_params()
    ours, theirs = ours.double(), theirs.double()
    x = _numbers(shape)
    ours(gpunn.tensor(x))
    theirs(parity.torch.tensor(x))
    plain = getattr(nn, name.removeprefix("Lazy"))
    assert type(ours) is plain
    assert repr(ours) == repr(theirs)
    for key, value in theirs.state_dict().items():
        if key.endswith(("weight", "bias")):
            assert ours.state_dict()[key].shape == tuple(value.shape)
            assert str(ours.state_dict()[key].dtype) == "float64"
        else:
            parity.close(key, ours.state_dict()[key].numpy(), value.numpy(), 1e-12)
    theirs.load_state_dict({key: parity.torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    # Some dozen roundings of numbers of order one.
    parity.compare(ours, lambda x: theirs(x), {"x": x}, "cpu", 1e-12, least_scale=1)


def _net() -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3)
    )


def _batch(where: str = "cpu", seed: int = 0) -> gpunn.Tensor:
    return gpunn.tensor(_numbers((2, 3, 6, 6), seed).astype(np.float32), device=where)


def test_starts_as_the_plain_layer_does() -> None:
    states = []
    for net in (_net(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(16, 3))):
        gpunn.manual_seed(5)
        if net[0].weight is not None and type(net[0]) is nn.Conv2d:
            for layer in net:
                getattr(layer, "reset_parameters", int)()
        else:
            net(_batch())
        states.append([parameter.tolist() for parameter in net.parameters()])
    assert states[0] == states[1]


def test_a_network_trains_captured_on_kernels_and_fuses_after_its_first_batch(kernels: str) -> None:
    losses = []
    for captured in (False, True):
        gpunn.manual_seed(2)
        net = _net().to(kernels)
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)  # before there are values

        def step(x: Any, net: Any = net, optimizer: Any = optimizer) -> Any:
            loss = net(x).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        losses.append([run(_batch(kernels, seed)).item() for seed in range(4)])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 4
    assert net[0].weight.device is gpunn.device(kernels)
    assert [type(b).__name__ for _, b in nn.fused_pairs(net)] == ["ReLU", "Flatten"]


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.NAdam])
def test_an_optimiser_may_be_made_before_the_first_batch(make: Any) -> None:
    results = []
    for early in (True, False):
        gpunn.manual_seed(3)
        net = _net()
        optimizer = make(net.parameters(), lr=0.1) if early else None
        net(_batch())
        optimizer = optimizer or make(net.parameters(), lr=0.1)
        for seed in range(2):
            optimizer.zero_grad()
            net(_batch(seed=seed)).square().sum().backward()
            optimizer.step()
        results.append([parameter.tolist() for parameter in net.parameters()])
    assert results[0] == results[1]


def test_channels_of_an_instance_without_a_batch() -> None:  # PyTorch takes the second axis all the same
    for layer, shape in ((nn.LazyInstanceNorm1d(), (3, 5)), (nn.LazyInstanceNorm2d(), (3, 4, 5))):
        assert layer(gpunn.rand(*shape)).shape == shape
        assert layer.num_features == 3


def test_state_is_loaded_into_every_stage() -> None:
    made, waiting, later = _net(), _net(), _net()
    made(_batch())
    assert waiting.load_state_dict(made.state_dict()) == ([], [])
    assert waiting[5].weight.shape == (3, 16)
    assert type(waiting[5]) is nn.LazyLinear  # until its first batch, as in PyTorch
    later(_batch())
    later.load_state_dict(made.state_dict())
    expected = made.eval()(_batch()).tolist()
    assert waiting.eval()(_batch()).tolist() == later.eval()(_batch()).tolist() == expected
    assert repr(waiting) == repr(made)
    both = _net()
    assert both.load_state_dict(_net().state_dict()) == ([], [])
    assert both[0].has_uninitialized_params()
    assert nn.Linear(16, 3).load_state_dict(waiting[5].state_dict()) == ([], [])


def test_loaded_weights_say_what_fits() -> None:
    layer = nn.LazyLinear(3)
    layer.load_state_dict(nn.Linear(4, 3).state_dict())
    with pytest.raises(ShapeError, match=r"expected 4 input features to match weight \(3, 4\); got x of shape \(2, 5"):
        layer(gpunn.ones(2, 5))
    other = nn.LazyConvTranspose1d(4, 3, groups=2)
    other.load_state_dict(nn.ConvTranspose1d(6, 4, 3, groups=2).state_dict())
    other(gpunn.ones(1, 6, 5))
    assert other.in_channels == 6


def test_nothing_is_loaded_if_it_does_not_fit() -> None:
    layer = nn.LazyLinear(3)
    with pytest.raises(StateDictError, match="missing keys") as caught:
        layer.load_state_dict({"weight": gpunn.ones(3, 4)})
    assert caught.value.missing_keys == ["bias"]
    assert layer.has_uninitialized_params()
    assert layer.load_state_dict({"weight": gpunn.ones(3, 4)}, strict=False).missing_keys == ["bias"]
    with pytest.raises(UsageError, match="LazyLinear: only a part of its parameters has been loaded: bias is missing"):
        layer(gpunn.ones(2, 4))


def test_moves_converts_copies_and_pickles_before_its_first_batch(kernels: str) -> None:
    layer = nn.LazyBatchNorm1d().double().to(kernels).requires_grad_(False)
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer):
        one(gpunn.ones(3, 2, device=kernels).double())
        assert type(one) is nn.BatchNorm1d
        assert (one.weight.device, str(one.running_mean.dtype)) == (gpunn.device(kernels), "float64")
        assert not one.weight.requires_grad
        assert one.weight.tolist() == one.running_var.tolist() or one.num_batches_tracked.item() == 1


def test_hooks_see_the_plain_layer() -> None:
    layer, seen = nn.LazyLinear(3), []
    layer.register_forward_hook(lambda module, args, y: seen.append(type(module)))
    layer(input=gpunn.ones(2, 4))
    layer(gpunn.ones(2, 4))
    assert seen == [nn.Linear, nn.Linear]
    assert not layer._forward_pre_hooks
    assert nn.summarize(_net(), (3, 6, 6)).parameters == 3 * 9 * 4 + 4 + 8 + 16 * 3 + 3


def test_parameters_become_parameters() -> None:
    weight = nn.UninitializedParameter(dtype="float64")
    holder = nn.Module()
    holder.weight = weight
    assert repr(weight) == "<UninitializedParameter>"
    assert weight.data is weight
    weight.materialize((2, 3, 4, 5))
    assert type(holder.weight) is nn.Parameter
    assert (weight.shape, str(weight.dtype), weight.requires_grad) == ((2, 3, 4, 5), "float64", True)
    (weight * 2).sum().backward()
    assert weight.grad.tolist() == np.full((2, 3, 4, 5), 2.0).tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LazyLinear(3).weight.shape, UsageError, "^UninitializedParameter: a lazy layer has no shapes and"),
        (
            lambda: nn.LazyLinear(3).weight + 1,
            UsageError,
            "Call the model once on a batch, or load a state_dict; befor",
        ),
        (lambda: nn.LazyBatchNorm1d().running_mean.numel(), UsageError, "^UninitializedBuffer: a lazy layer has no sh"),
        (lambda: nn.init.ones_(nn.LazyLinear(3).weight), UsageError, "^UninitializedParameter: a lazy layer has no sh"),
        (lambda: nn.Linear(2, 3).load_state_dict(nn.LazyLinear(3).state_dict()), UsageError, "^UninitializedParameter"),
        (
            lambda: nn.LazyLinear(0),
            UsageError,
            "^Linear: out_features: expected a whole number of at least 1; got 0",
        ),
        (lambda: nn.LazyLinear(3)(2), ArgumentError, "LazyLinear.*: x: expected a Tensor; got int"),
        (lambda: nn.LazyLinear(3)(gpunn.tensor(1.0)), ShapeError, r"expected x \(..., D\); got a number"),
        (lambda: nn.LazyConv2d(3, 2)(gpunn.ones(3)), ShapeError, r"LazyConv2d.*: expected x with 3 or 4 axes; got \(3"),
        (
            lambda: nn.LazyConv1d(4, 2, groups=2)(gpunn.ones(1, 3, 4)),
            UsageError,
            "groups: expected a divisor of x's 3 c",
        ),
        (
            lambda: nn.LazyBatchNorm3d()(gpunn.ones(1, 3, 4, 4)),
            ShapeError,
            r"LazyBatchNorm3d.*: expected x with 5 axes",
        ),
        (
            lambda: nn.LazyBatchNorm2d()(gpunn.ones(1, 3, 4)),
            ShapeError,
            r"LazyBatchNorm2d.*: expected x with 4 axes; go",
        ),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_saving_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Call the model once on a batch"):
        gpunn.save(nn.LazyLinear(3).state_dict(), str(tmp_path / "lazy.pt"))
