"""Layers of transposed convolution and resampling: PyTorch's text, parameters, numbers and sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("ConvTranspose2d", (4, 6, 3), {}, (2, 4, 3, 5)),
    ("ConvTranspose2d", (4, 6, (4, 2), 2, 1, (1, 0), 2, False, (1, 2)), {}, (2, 4, 3, 5)),
    ("ConvTranspose2d", (4, 4, 2), {"stride": 2, "groups": 4}, (4, 3, 5)),
    ("ConvTranspose1d", (4, 6, 3, 2, 1, 1), {}, (2, 4, 5)),
    ("ConvTranspose1d", (2, 2, 3), {"dilation": 2, "bias": False}, (2, 5)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("Upsample", ((5, 7),), {"mode": "bilinear"}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": (2, 1.5), "mode": "bicubic", "align_corners": True}, (2, 3, 4, 5)),
    ("Upsample", (3, None, "linear", False, False), {}, (2, 3, 8)),
    ("UpsamplingNearest2d", (), {"scale_factor": 3}, (2, 3, 4, 5)),
    ("UpsamplingBilinear2d", ((3, 9),), {}, (2, 3, 4, 5)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 2)),
    ("PixelUnshuffle", (2,), {}, (2, 2, 4, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 4, 2)),
    ("Softmax2d", (), {}, (2, 3, 4, 5)),
    ("Softmax2d", (), {}, (3, 4, 5)),
    ("GLU", (1,), {}, (2, 6, 4)),
]


@pytest.mark.parametrize(("name", "args", "named", "shape"), LAYERS)
def test_numbers_text_and_state_are_pytorchs(
    name: str, args: tuple[Any, ...], named: dict[str, Any], shape: tuple[int, ...]
) -> None:
    parity = pytest.importorskip("tests.parity")
    torch = parity.torch
    gpunn.manual_seed(3)
    ours, theirs = getattr(nn, name)(*args, **named).to("float64"), getattr(torch.nn, name)(*args, **named).double()
    assert repr(ours) == repr(theirs)
    state = {key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()}
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in state.items()}
    theirs.load_state_dict(state)
    x = np.random.Generator(np.random.Philox(0)).standard_normal(shape)
    # Sums of a hundred products of numbers of order one in float64.
    parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": x}, "cpu", 1e-13, least_scale=1)
    for key, parameter in ours.named_parameters():
        parity.close(key, parameter.grad.numpy(), theirs.get_parameter(key).grad.numpy(), 1e-13, 1)


def test_initial_values_are_as_spread_as_pytorchs() -> None:
    layer = nn.ConvTranspose2d(8, 32, 3)
    bound = 1 / (32 * 9) ** 0.5
    for parameter in (layer.weight, layer.bias):
        values = parameter.detach().numpy()
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.8 * bound  # of 32 uniform numbers, 1 time in 1000 not


@pytest.mark.parametrize("size", [(7, 9), (2, 6, 8, 9), (8, 10)])
def test_output_size_decides_between_the_possible_ones(size: tuple[int, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = nn.ConvTranspose2d(4, 6, 3, 2, 1), parity.torch.nn.ConvTranspose2d(4, 6, 3, 2, 1)
    x = np.ones((2, 4, 4, 5), np.float32)
    expected = tuple(theirs(parity.torch.tensor(x), output_size=size).shape)
    assert ours(gpunn.tensor(x), output_size=size).shape == expected


def test_what_is_not_possible() -> None:
    layer = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1))
    with pytest.raises(ShapeError, match=r"output_size: expected 2 or 4 numbers, from \(7, 9\) to \(8, 10\) for x of"):
        layer[0](gpunn.ones(1, 4, 4, 5), output_size=(9, 9))
    with pytest.raises(ShapeError, match=r"^0 \(ConvTranspose2d\): expected 4 input channels to match weight"):
        layer(gpunn.ones(1, 3, 4, 5))
    with pytest.raises(ShapeError, match=r"Softmax2d: expected x \(N, C, H, W\) or \(C, H, W\); got \(2, 3\)"):
        nn.Softmax2d()(gpunn.ones(2, 3))
    with pytest.raises(UsageError, match="ConvTranspose1d: groups: expected a divisor of in_channels"):
        nn.ConvTranspose1d(4, 3, 2, groups=2)
    with pytest.raises(UsageError, match="ConvTranspose2d: padding_mode: expected 'zeros'"):
        nn.ConvTranspose2d(4, 3, 2, padding_mode="reflect")
    with pytest.raises(UsageError, match="ConvTranspose2d: output_padding: expected less than stride 2 or dilation 1"):
        nn.ConvTranspose2d(4, 3, 2, 2, output_padding=2)
