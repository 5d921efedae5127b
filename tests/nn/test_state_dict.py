"""Saving and loading a module's state: all or nothing, and errors that list every key."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import models, nn
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
    error = caught.value
    message = str(error)
    assert message.startswith("Net: the state_dict does not fit, so nothing was loaded; 4 differences, all in")
    assert "missing keys (1): scale\n" in message
    assert "unexpected keys (1): extra.bias\n" in message
    assert "wrong shapes or dtypes (2): " in message
    assert "fc.weight: expected (5, 256), got (5, 65)" in message
    assert "features.0.1.num_batches_tracked: expected int64, got float32" in message
    assert (error.missing_keys, error.unexpected_keys) == (["scale"], ["extra.bias"])
    assert error.mismatched_keys == ["features.0.1.num_batches_tracked", "fc.weight"]
    assert error.differences == [
        "missing: scale (1,)",
        "unexpected: extra.bias (1,)",
        "wrong shape or dtype: features.0.1.num_batches_tracked: expected int64, got float32",
        "wrong shape or dtype: fc.weight: expected (5, 256), got (5, 65)",
    ]
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.differences) == (message, error.differences)
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


def test_long_lists_of_keys_are_cut_in_the_message_and_whole_in_the_error() -> None:
    with pytest.raises(StateDictError, match=r"unexpected keys \(40\): k0, .*k11 and 28 more") as caught:
        nn.ReLU().load_state_dict({f"k{i}": gpunn.zeros(1) for i in range(40)})
    assert caught.value.unexpected_keys == [f"k{i}" for i in range(40)]
    assert len(caught.value.differences) == 40


@pytest.mark.parametrize("length", [1, 30, 200, 4000])
def test_a_message_is_short_whatever_the_names_are(length: int) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i in range(50):
                self.register_parameter("w" * length + str(i), nn.Parameter(gpunn.zeros(2)))

    state = {"u" * length + str(i): gpunn.zeros(3) for i in range(50)}
    state |= {"w" * length + str(i): gpunn.zeros(3) for i in range(25)}
    with pytest.raises(StateDictError) as caught:
        Wide().load_state_dict(state)
    message = str(caught.value)
    assert len(message) < 500
    assert "missing keys (25): w" in message
    assert "unexpected keys (50): u" in message
    assert "wrong shapes or dtypes (25): w" in message
    assert len(caught.value.differences) == 100


def _prefixed(state: dict[str, gpunn.Tensor], prefix: str) -> dict[str, gpunn.Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ("make", "state", "fix"),
    [
        (Net, lambda: _prefixed(Net().state_dict(), "module."), r"begin with 'module\.': load \{k\.removeprefix"),
        (lambda: nn.Sequential(Net()), lambda: Net().state_dict(), r"lack '0\.' in front"),
        (Net, lambda: {"epoch": 3, "model": Net().state_dict()}, r"weights are inside: give its entry 'model'"),
        (
            lambda: models.build("resnet20", classes=10),
            lambda: models.build("resnet20", classes=100).state_dict(),
            r"It has 100 outputs in 'fc', where the model has 10: build",
        ),
        (
            lambda: models.AlexNetTwoGroups(3),
            lambda: {k: np.zeros(v.shape, "f") for k, v in models.AlexNet(3).state_dict().items()},
            r"torchvision's AlexNet, which has no groups: load them into AlexNet\.",
        ),
        (
            lambda: models.AlexNet(3),
            lambda: {k: np.zeros(v.shape, "f") for k, v in models.AlexNetTwoGroups(3).state_dict().items()},
            r"AlexNet of 2012 with two groups: load them into AlexNetTwoGroups\.",
        ),
        (lambda: nn.Linear(3, 2), lambda: nn.Linear(4, 2).state_dict(), "built with other arguments"),
    ],
    ids=["module.", "part", "checkpoint", "classes", "two groups", "no groups", "unknown"],
)
def test_the_likely_fix_is_told_where_it_is_evident(make: Any, state: Any, fix: str, no_draws: None) -> None:
    with pytest.raises(StateDictError, match=fix) as caught:
        make().load_state_dict(state())
    assert len(str(caught.value)) < 500


@pytest.fixture
def no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are zeros: where only their shapes count."""
    for name in ("uniform", "normal"):
        monkeypatch.setattr(gpunn.Generator, name, lambda self, *args: np.zeros(args[2], np.float32))


def test_what_cannot_be_written_to_is_found_before_anything_is_written() -> None:
    module = nn.Module()
    module.register_buffer("first", gpunn.zeros(2))
    module.register_buffer("second", gpunn.zeros(1).expand(3))
    with pytest.raises(UsageError, match="expanded tensor"):
        module.load_state_dict({"first": np.ones(2), "second": np.ones(3)})
    assert module.first.tolist() == [0, 0]


def test_every_module_error_is_a_gpunn_error() -> None:
    for kind in (StateDictError, UsageError, ShapeError, DTypeError):
        assert issubclass(kind, GpunnError)
