"""Saving and loading a module's state: all or nothing, and errors that list every key."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DTypeError, GpunnError, ShapeError, StateDictError, UsageError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)), nn.ReLU())
        self.fc = nn.Linear(4 * 8 * 8, 5)
        self.scale = nn.Parameter(gpunn.ones(1))
        self.register_buffer("scratch", gpunn.zeros(3), persistent=False)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1)) * self.scale


# -- state_dict --------------------------------------------------------------------------------


def test_state_dict_shares_storage_and_round_trips() -> None:
    net, other = Net(), Net()
    state = net.state_dict()
    assert "scratch" not in state
    assert state["features.0.1.num_batches_tracked"].shape == ()
    with gpunn.no_grad():
        net.scale.fill_(5)
    assert state["scale"].item() == 5
    weight = other.fc.weight
    report = other.load_state_dict(state)
    assert report == ([], [])
    assert other.fc.weight is weight
    for key, value in other.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[key].numpy())
    x = gpunn.randn(2, 3, 8, 8)
    np.testing.assert_array_equal(net(x).detach().numpy(), other(x).detach().numpy())


def test_loading_converts_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    layer = nn.Linear(2, 1)
    values = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    layer.load_state_dict({"weight": values, "bias": np.zeros(1, np.float16)})
    assert layer.weight.tolist() == [[1.5, -2.0]]


def test_loading_converts_dtype_and_takes_numpy() -> None:
    layer = nn.Linear(2, 3)
    layer.load_state_dict({"weight": np.arange(6.0).reshape(3, 2), "bias": np.ones(3)})
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.detach().numpy(), [[0, 1], [2, 3], [4, 5]])


def test_a_state_dict_that_does_not_fit_changes_nothing_and_lists_everything() -> None:
    net = Net()
    before = {k: v.numpy().copy() for k, v in net.state_dict().items()}
    state = {k: gpunn.tensor(v + 1) for k, v in before.items()}
    del state["scale"]
    state["fc.weight"] = gpunn.zeros(5, 65)
    state["features.0.1.num_batches_tracked"] = gpunn.zeros()
    state["extra.bias"] = gpunn.zeros(1)
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith("Net: the state_dict does not fit, so nothing was loaded:")
    assert "missing keys: scale\n" in message
    assert "unexpected keys: extra.bias\n" in message
    assert "fc.weight: expected (5, 256), got (5, 65)" in message
    assert "features.0.1.num_batches_tracked: expected int64, got float32" in message
    with pytest.raises(StateDictError, match="wrong shapes") as caught:
        net.load_state_dict(state, strict=False)
    assert "missing" not in str(caught.value).split("\n")[1]
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_strict_false_reports_what_it_skipped() -> None:
    layer = nn.Linear(2, 3)
    report = layer.load_state_dict({"bias": gpunn.ones(3), "other": gpunn.ones(1)}, strict=False)
    assert report.missing_keys == ["weight"]
    assert report.unexpected_keys == ["other"]
    np.testing.assert_array_equal(layer.bias.detach().numpy(), [1, 1, 1])


def test_values_that_are_not_arrays_are_named() -> None:
    with pytest.raises(StateDictError, match=r"Linear: expected Tensors, NumPy or CuPy arrays .*; 'bias' is list"):
        nn.Linear(2, 1).load_state_dict({"weight": gpunn.zeros(1, 2), "bias": [1.0]})


def test_long_lists_of_keys_are_cut() -> None:
    with pytest.raises(StateDictError, match=r"k11 and 28 more"):
        nn.ReLU().load_state_dict({f"k{i}": gpunn.zeros(1) for i in range(40)})


def test_every_module_error_is_a_gpunn_error() -> None:
    for kind in (StateDictError, UsageError, ShapeError, DTypeError):
        assert issubclass(kind, GpunnError)
