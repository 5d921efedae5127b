"""Pooling layers: PyTorch's arguments, shapes and names, strict windows, and the summary's notes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError

IMAGES, SEQUENCES = (2, 3, 9, 8), (2, 3, 9)
CASES = [
    ("MaxPool2d", (2,), {}, IMAGES),
    ("MaxPool2d", ((3, 2), 2, 1, (1, 2)), {"ceil_mode": True}, IMAGES),
    ("AvgPool2d", (2,), {}, IMAGES),
    ("AvgPool2d", (3, (2, 1), 1, True, False), {}, IMAGES),
    ("AvgPool2d", (3,), {"divisor_override": 4}, IMAGES),
    ("MaxPool1d", (2,), {}, SEQUENCES),
    ("MaxPool1d", (3, 2, 1, 2, False, True), {}, SEQUENCES),
    ("AvgPool1d", (2,), {}, SEQUENCES),
    ("AvgPool1d", (3, 2, 1, True, False), {}, SEQUENCES),
    ("AdaptiveAvgPool2d", (1,), {}, IMAGES),
    ("AdaptiveAvgPool2d", ((None, 3),), {}, IMAGES),
    ("AdaptiveAvgPool1d", (4,), {}, SEQUENCES),
    ("AdaptiveMaxPool2d", ((2, 5),), {}, IMAGES),
]


@pytest.mark.parametrize(("name", "args", "options", "shape"), CASES)
def test_matches_torch(name: str, args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = getattr(nn, name)(*args, **options), getattr(parity.torch.nn, name)(*args, **options)
    x = np.random.Generator(np.random.Philox(0)).standard_normal(shape).astype(np.float32)
    parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": x}, "cpu", 1e-6)  # sums of at most nine numbers
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.MaxPool2d(2, return_indices=True), IMAGES),
        (nn.MaxPool1d(2, return_indices=True), SEQUENCES),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), IMAGES),
    ],
)
def test_indices_name_the_maxima(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = gpunn.randn(*shape)
    y, index = layer(x)
    flat = x.numpy().reshape(*shape[:2], -1)
    found = np.take_along_axis(flat, index.numpy().reshape(*shape[:2], -1), axis=2)
    np.testing.assert_array_equal(found, y.numpy().reshape(found.shape))


@pytest.mark.parametrize("layer", [nn.MaxPool2d, nn.AvgPool2d])
def test_strict_images(layer: Any) -> None:
    assert layer(2, strict=True)(gpunn.ones(1, 1, 4, 6)).shape == (1, 1, 2, 3)
    model = nn.Sequential(layer(2, strict=True))
    with pytest.raises(ShapeError, match=rf"^0 \({layer.__name__}\): strict: .*the last 1 row\(s\) and 0 column"):
        model(gpunn.ones(1, 1, 5, 4))
    assert layer(2, ceil_mode=True, strict=True)(gpunn.ones(1, 1, 5, 4)).shape == (1, 1, 3, 2)
    assert "strict=True" in repr(model)


@pytest.mark.parametrize("layer", [nn.MaxPool1d, nn.AvgPool1d])
def test_strict_sequences(layer: Any) -> None:
    assert layer(2, strict=True)(gpunn.ones(1, 1, 4)).shape == (1, 1, 2)
    with pytest.raises(ShapeError, match="strict"):
        layer(2, strict=True)(gpunn.ones(1, 1, 5))
    assert repr(layer(2, strict=True)).endswith(", strict=True)")


def test_the_summary_notes_what_average_pooling_leaves_out() -> None:
    found = nn.summarize(nn.Sequential(nn.AvgPool2d(2)), (1, 5, 4))
    assert "last row of the padded input unused" in str(found.layers[0].notes)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.MaxPool2d(2, padding=2), "MaxPool2d: padding .* more than half"),
        (lambda: nn.MaxPool1d(0), "MaxPool1d: kernel_size"),
        (lambda: nn.AvgPool2d(2, stride=0), "AvgPool2d: stride"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "AvgPool2d: divisor_override"),
        (lambda: nn.AvgPool1d((2, 2)), "AvgPool1d: kernel_size"),
        (lambda: nn.AdaptiveAvgPool2d(0), "AdaptiveAvgPool2d: output_size"),
        (lambda: nn.AdaptiveAvgPool1d((1, 1)), "AdaptiveAvgPool1d: output_size"),
        (lambda: nn.AdaptiveMaxPool2d((1,)), "AdaptiveMaxPool2d: output_size"),
    ],
)
def test_impossible_arguments_are_named_when_the_layer_is_made(make: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make()
