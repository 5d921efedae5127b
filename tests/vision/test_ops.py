"""Layers of torchvision's networks: its values, names and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from gpunn.vision import ops as typed
from tests.parity_vision import torchvision

ops: Any = typed  # so that wrong arguments pass the type checker
_IMAGES = np.random.Generator(np.random.Philox(2)).standard_normal((2, 4, 7, 6))
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], np.ndarray]] = [
    ("Conv2dNormActivation", (4, 6), {}, _IMAGES),
    ("Conv2dNormActivation", (4, 6, (3, 5), 2), {"dilation": (2, 1), "norm_layer": None, "inplace": None}, _IMAGES),
    ("Conv2dNormActivation", (4, 8, 5), {"groups": 2, "activation_layer": None, "bias": True, "dilation": 2}, _IMAGES),
    ("Conv2dNormActivation", (4, 4, 3, 1, 2), {"norm_layer": "Identity", "activation_layer": "SiLU"}, _IMAGES),
    ("SqueezeExcitation", (4, 2), {}, _IMAGES),
    ("SqueezeExcitation", (4, 3), {"activation": "SiLU", "scale_activation": "Tanh"}, _IMAGES),
    ("MLP", (6, [5, 3]), {}, _IMAGES[:, :, 0]),
    ("MLP", (6, [5, 4, 2], "LayerNorm", "GELU"), {"bias": False}, _IMAGES[0]),
    ("MLP", (6, [3]), {"inplace": True}, _IMAGES),
    ("Permute", ([0, 3, 1, 2],), {}, _IMAGES),
    ("StochasticDepth", (0.0, "row"), {}, _IMAGES),
    ("StochasticDepth", (1.0, "batch"), {}, _IMAGES),
]


def _layer(library: Any, layers: Any, name: str, args: Any, named: Any) -> Any:
    def known(value: Any) -> Any:
        return getattr(library.nn, value) if isinstance(value, str) and hasattr(library.nn, value) else value

    made = getattr(layers, name)(*map(known, args), **{key: known(value) for key, value in named.items()})
    return made.double()


@pytest.mark.parametrize(("name", "args", "named", "array"), LAYERS)
def test_same_as_torchvisions(name: str, args: Any, named: dict[str, Any], array: np.ndarray) -> None:
    theirs_ops = torchvision("ops")
    parity = pytest.importorskip("tests.parity")
    theirs = _layer(parity.torch, theirs_ops, name, args, named)
    ours = _layer(gpunn, ops, name, args, named)
    assert repr(ours) == repr(theirs)
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in state.items()
    }
    ours.load_state_dict(state)
    # A few dozen roundings of sums of numbers of order one.
    parity.compare(ours, lambda x: theirs(x), {"x": array}, "cpu", 1e-12, least_scale=1)


@pytest.mark.parametrize(("name", "args", "named", "array"), LAYERS)
def test_runs_on_kernels(name: str, args: Any, named: dict[str, Any], array: np.ndarray, kernels: str) -> None:
    layer = _layer(gpunn, ops, name, args, named)
    expected = layer(gpunn.tensor(array)).detach().numpy()
    got = layer.to(kernels)(gpunn.tensor(array, device=kernels)).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))  # as above


def test_what_is_dropped(kernels: str) -> None:
    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        return ops.stochastic_depth(x, 0.75, "row")

    runs = []
    for run in (step, gpunn.capture(step)):
        gpunn.manual_seed(6)
        x = gpunn.ones(64, 2, 3, device=kernels)
        runs.append([run(x).numpy().copy() for _ in range(3)])  # the next replay writes there
    for eager, captured in zip(*runs, strict=True):
        np.testing.assert_array_equal(captured, eager)
        assert {*eager.ravel()} == {0.0, 4.0}
        np.testing.assert_array_equal(eager, eager[:, :1, :1] * np.ones((1, 2, 3)))
        assert 4 <= np.count_nonzero(eager[:, 0, 0]) <= 32  # 16, and more than four standard deviations of 3.5
    assert not np.array_equal(runs[1][1], runs[1][2])
    whole = [ops.stochastic_depth(gpunn.ones(8, 2), 0.5, "batch").sum().item() for _ in range(20)]
    assert {*whole} == {0.0, 32.0}


def test_a_layer_drops_only_while_training() -> None:
    layer, x = ops.StochasticDepth(1.0, "batch"), gpunn.ones(2, 3)
    assert layer(x).sum().item() == 0
    assert layer.eval()(x) is x
    assert ops.stochastic_depth(x, 1.0, "row", training=False) is x


def test_blocks_say_what_they_give() -> None:
    block = ops.Conv2dNormActivation(3, 8, stride=2)
    assert block.out_channels == 8
    assert [type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert block(gpunn.ones(2, 3, 9, 8)).shape == (2, 8, 5, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.stochastic_depth(gpunn.ones(2), 1.5, "row"), UsageError, "^stochastic_depth: p: expected"),
        (lambda: ops.stochastic_depth(gpunn.ones(2), 0.5, "rows"), UsageError, "expected 'batch' or 'row'; got 'rows'"),
        (lambda: ops.stochastic_depth(gpunn.arange(2), 0.5, "row"), DTypeError, "^stochastic_depth: expected a float"),
        (lambda: ops.stochastic_depth(gpunn.tensor(1.0), 0.5, "row"), ShapeError, "expected a batch"),
        (lambda: ops.Conv2dNormActivation(3, 4, (3, 3, 3)), UsageError, "kernel_size: expected a number or two"),
        (lambda: ops.SqueezeExcitation(3, 2)(gpunn.ones(1, 4, 2, 2)), ShapeError, r"fc1 \(Conv2d\): expected 4|3"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
