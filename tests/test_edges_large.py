"""Tensors beyond 32-bit indexing: a kernel either counts in 64 bits, or refuses before anything is launched.

The arrays are views of a file without contents, and the device notes launches instead of running them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunn import nn
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn._window import Window
from gpunn.errors import UsageError
from gpunn.ops import import_all
from gpunn.ops.take_images import Changes
from gpunn.primitive import REGISTRY

import_all()  # registers every primitive
LARGE = 2**31 + 8
_BYTES = 2**37  # of the file, none of them written


class _Loader:
    """Takes any launch, runs none."""

    def __init__(self) -> None:
        self.launched: list[str] = []

    def load(self, source: str, label: str, macros: Any) -> _Loader:
        return self

    def facts(self, args: Any) -> list[Any]:
        return [object()]  # no two calls are alike

    def function(self, kernel: str, parameters: Any) -> Any:
        def run(*launch: Any) -> None:
            self.launched.append(kernel)

        return SimpleNamespace(run=run, prepare=lambda *launch: None)


class _Device(Device):
    """A device whose arrays all lie at one place."""

    def __init__(self, memory: np.ndarray) -> None:
        super().__init__("stand-in", np, _Loader())
        self._cache["memory"] = memory

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        return self._cache["memory"][: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    zeros = empty


@pytest.fixture
def device(tmp_path: Path) -> _Device:
    path = tmp_path / "memory"
    with path.open("wb") as file:
        file.truncate(_BYTES)
    return _Device(np.memmap(path, np.uint8, mode="r+").view(np.ndarray))


Arguments = Callable[[Callable[..., np.ndarray]], dict[str, Any]]


def _window(height: int, width: int, size: int = 2) -> Window:
    return Window(height, width, size, size, (size, size), (0, 0), (1, 1))


# What counts in 64 bits, or is launched in parts: more than 2^31 elements, with the offsets of all within reach.
TAKEN: dict[str, Arguments] = {
    "relu_forward": lambda f: {"x": f(LARGE)},
    "tanh_backward": lambda f: {"dy": f(LARGE), "y": f(LARGE)},
    "unary_forward": lambda f: {"name": "exp", "x": f(LARGE)},
    "atan2_backward": lambda f: {"dy": f(LARGE), "a": f(LARGE), "b": f(LARGE)},
    "erfinv_forward": lambda f: {"x": f(LARGE)},
    "sort_places": lambda f: {"x": f(2**21, 1025), "axis": 1, "descending": False},
    "places_among": lambda f: {"rows": f(1, 100), "values": f(1, LARGE), "right": False},
    "running_sum": lambda f: {"x": f(LARGE), "axis": 0, "backwards": False},
    "mse_loss_forward": lambda f: {"x": f(LARGE), "target": f(LARGE), "divisor": 1.0},
    "broadcast_binary": lambda f: {"name": "add", "a": f(LARGE), "b": f(LARGE)},
    "softmax_forward": lambda f: {"x": f(2**31, 2), "axis": 1},
    "layer_norm_forward": lambda f: {"x": f(2**21, 2048), "weight": None, "bias": None, "eps": 1e-5},
    "attention_forward": lambda f: {
        **{name: f(2**20, 32, 128) for name in "qkv"},
        "mask": None,
        "scale": 1.0,
        "causal": False,
    },
    "group_norm_forward": lambda f: {"x": f(2**17, 2**8, 8, 16, 1), "weight": None, "bias": None, "eps": 1e-5},
    "sum_axes": lambda f: {"x": f(2**20, 4096), "axes": (1,), "keepdims": True, "factor": 1.0},
    "gemm": lambda f: {"a": f(2**20, 4096), "b": f(64, 4096), "form": "nt"},
    "bias_backward": lambda f: {"dy": f(2**21, 2048), "y": None, "wants_bias": True},
    "batch_norm_normalise": lambda f: {
        "x": f(2**27, 32),
        "mean": f(32),
        "var": f(32),
        "weight": None,
        "bias": None,
        "residual": None,
        "eps": 1e-5,
        "relu": True,
    },
    "sync_batch_norm_pack": lambda f: {"mean": f(2**29), "var": f(2**29), "rows": 2**30},
    "sync_batch_norm_combine": lambda f: {
        "parts": f(3, 2**30 + 1),
        "running_mean": None,
        "running_var": None,
        "batches": None,
        "momentum": 0.1,
    },
    "sync_batch_norm_backward": lambda f: {
        "dy": f(2**27, 32),
        "x": f(2**27, 32),
        "y": None,
        "mean": f(32),
        "var": f(32),
        "weight": None,
        "sums": f(2, 32),
        "count": f(1),
        "eps": 1e-5,
        "needs": (True, False),
    },
    "dropout_apply": lambda f: {
        "x": f(LARGE),
        "p": 0.5,
        "key": (1, 2),
        "index": 0,
        "base": f(1, dtype=np.uint64),
    },
    "take_images": lambda f: {
        "images": f(2**20, 32, 33, 3, dtype=np.uint8),
        "labels": f(2**20, dtype=np.int64),
        "indices": f(2**21, dtype=np.int32),
        "words": f(3, dtype=np.uint64),
        "mean": f(3),
        "std": f(3),
        "changes": Changes(),
    },
    "batched_transpose": lambda f: {"x": f(1, 2**29, 5)},
    "flip_axes": lambda f: {"x": f(2**16, 2**16), "axes": (0,)},
    "join": lambda f: {"arrays": [f(2**16, 2**16), f(2**16, 2**15)], "axis": 1},
    "sgd_step": lambda f: {
        "params": [f(LARGE)],
        "grads": [f(LARGE)],
        "momenta": [None],
        "first": [True],
        "scalars": f(5),
        "error": np.zeros(4, np.int32),
        "nesterov": False,
    },
}
# What counts threads, rows or pixels in an int.
REFUSED: dict[str, Arguments] = {
    "take_images": lambda f: {
        "images": f(1, 2**15, 2**15, 3, dtype=np.uint8),
        "labels": f(1, dtype=np.int64),
        "indices": f(1, dtype=np.int32),
        "words": f(3, dtype=np.uint64),
        "mean": f(3),
        "std": f(3),
        "changes": Changes(),
    },
    "max_pool2d_forward": lambda f: {"x": f(2**17, 256, 256, 3), "window": _window(256, 256, 1)},
    "max_pool2d_backward": lambda f: {
        "dy": f(2**17, 128, 128, 3),
        "offset": f(2**17, 128, 128, 3, dtype=np.uint8),
        "window": _window(256, 256),
    },
    "avg_pool2d_forward": lambda f: {
        "x": f(1, 2**16, 2**16, 1),
        "window": _window(2**16, 2**16),
        "count_include_pad": True,
        "divisor": 0,
    },
    "adaptive_avg_pool2d_forward": lambda f: {"x": f(1, 2**16, 2**16, 1), "size": (1, 1)},
    "adaptive_max_pool2d_forward": lambda f: {"x": f(1, 2**16, 2**16, 1), "size": (2**15, 2**15)},
    "conv2d_forward": lambda f: {
        "x": f(2**13, 512, 512, 1),
        "weight": f(4, 1, 1, 1),
        "window": _window(512, 512, 1),
        "groups": 1,
        "bias": None,
        "relu": False,
    },
    "conv2d_backward": lambda f: {
        "dy": f(2**13, 512, 512, 8),
        "y": None,
        "x": f(2**13, 512, 512, 8),
        "weight": f(8, 1, 1, 8),
        "window": _window(512, 512, 1),
        "groups": 1,
        "needs": (True, True, True),
    },
    "bias_backward": lambda f: {"dy": f(2**31, 2), "y": None, "wants_bias": True},
    "batch_norm_statistics": lambda f: {
        "x": f(2**31, 1),
        "running_mean": None,
        "running_var": None,
        "batches": None,
        "momentum": 0.1,
    },
    "sync_batch_norm_pack": lambda f: {"mean": f(3), "var": f(3), "rows": 2**31},
    "layer_norm_forward": lambda f: {"x": f(2**31, 1), "weight": None, "bias": None, "eps": 1e-5},
    "group_norm_forward": lambda f: {"x": f(1, 2**31, 1, 1, 1), "weight": None, "bias": None, "eps": 1e-5},
    "gemm": lambda f: {"a": f(2**31, 4), "b": f(4, 4), "form": "nt"},
    "cross_entropy_forward": lambda f: {
        "logits": f(2**31, 2),
        "target": f(2**31, dtype=np.int64),
        "weight": None,
        "smoothing": 0.0,
        "ignore_index": -100,
        "reduction": "sum",
        "with_gradient": True,
    },
    "attention_forward": lambda f: {
        **{name: f(2**31, 1, 1) for name in "qkv"},
        "mask": None,
        "scale": 1.0,
        "causal": False,
    },
    "maxout_forward": lambda f: {"x": f(2**31, 2, 1)},
    "lstm_gates_forward": lambda f: {"given": f(2**31, 4), "hidden": f(2**31, 4), "c": f(2**31, 1)},
    "gru_gates_forward": lambda f: {"given": f(2**31, 3), "hidden": f(2**31, 3), "h": f(2**31, 1)},
    "dropout_apply": lambda f: {
        "x": f(1, 2**15, 2**16, 2),
        "p": 0.5,
        "key": (1, 2),
        "index": 0,
        "base": f(1, dtype=np.uint64),
    },
    "pad_axis": lambda f: {"x": f(LARGE), "axis": 0, "before": 1, "after": 1, "mode": "reflect"},
    "triangle": lambda f: {"x": f(3, 2**15, 2**15), "diagonal": 0, "upper": False},
}


def _make(device: _Device, arguments: Arguments) -> dict[str, Any]:
    return arguments(lambda *shape, dtype=np.float32: device.empty(shape, dtype))


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_is_taken(name: str, device: _Device) -> None:
    REGISTRY[name](device, **_make(device, TAKEN[name]))
    assert device.loader.launched


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_is_refused_before_any_launch(name: str, device: _Device) -> None:
    with pytest.raises(UsageError, match=r"(?i)split the (batch|tensor)"):
        REGISTRY[name](device, **_make(device, REFUSED[name]))
    assert device.loader.launched == []


def test_the_layer_is_named_and_the_device_goes_on(device: _Device) -> None:
    model = nn.Sequential(nn.Sigmoid(), nn.MaxPool2d(1))
    image, large = (device.empty((n, 256, 256, 3), np.float32).transpose(0, 3, 1, 2) for n in (1, 2**17))
    with pytest.raises(UsageError, match=r"^1 \(MaxPool2d\): max_pool2d_forward counts in 32 bits"):
        model(Tensor(large, device))
    device.loader.launched.clear()
    model(Tensor(image, device))
    assert device.loader.launched == ["sigmoid_forward", "max_pool2d_forward"]
