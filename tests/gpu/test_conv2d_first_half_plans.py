"""How first layers of 16-bit numbers are split: where rows lie in the banks, tiles, blocks, and shared memory."""

from __future__ import annotations

from typing import Any

import pytest

from gpunn._window import Window
from gpunn.errors import UsageError
from gpunn.gpu import conv2d_first_half as first
from tests.halves import window as _window

# Customary first layers: of n images of so many rows and columns by a filter; stride and padding.
LAYERS: dict[str, tuple[int, int, tuple[int, int, int, int], int, int]] = {
    "ResNet": (256, 224, (64, 7, 7, 3), 2, 3),
    "ResNet, few images": (32, 224, (64, 7, 7, 3), 2, 3),
    "ResNet-20": (128, 32, (16, 3, 3, 3), 1, 1),
    "LeNet": (128, 28, (32, 5, 5, 1), 1, 2),
    "AlexNet": (64, 224, (96, 11, 11, 3), 4, 2),
    "VGG": (256, 224, (64, 3, 3, 3), 1, 1),
}


def _layer(name: str) -> tuple[int, tuple[int, int, int, int], Window, bool]:
    n, side, weight, stride, padding = LAYERS[name]
    window = _window(side, side, *weight[1:3], (stride, stride), (padding, padding), (1, 1))
    return n, weight, window, side * weight[3] % 8 == 0


def _of_cut(cut: first.Cut) -> tuple[int, ...]:
    return cut.high, cut.wide, cut.across, cut.down, cut.pitch, cut.apart


@pytest.mark.parametrize(
    ("layer", "columns", "groups", "cut", "shared", "each"),
    [
        ("ResNet", 64, 1, (6, 56, 1, 6, 400, 0), 34992, 25),
        ("ResNet, few images", 64, 1, (9, 16, 2, 3, 144, 0), 28016, 8),
        ("ResNet-20", 32, 1, (12, 32, 1, 6, 130, 1880), 9720, 1),
        ("LeNet", 32, 1, (15, 16, 2, 3, 74, 1428), 7988, 1),
        ("AlexNet", 32, 1, (6, 56, 1, 6, 736, 0), 71888, 5),
        ("VGG", 64, 1, (15, 32, 2, 3, 130, 2264), 13444, 68),
    ],
)
def test_forward_passes(layer: str, columns: int, groups: int, cut: tuple[int, ...], shared: int, each: int) -> None:
    found = first.plan(*_layer(layer))
    assert found is not None
    assert (found.columns, found.groups, _of_cut(found.cut)) == (columns, groups, cut)
    assert (found.shared, found.each) == (shared, each)


@pytest.mark.parametrize(
    ("layer", "warps", "cut", "shared", "each"),
    [
        ("ResNet", (64, 2, 5, 1), (8, 16, 1, 4, 144, 0), 22960, 64),
        ("ResNet, few images", (64, 2, 5, 1), (8, 16, 1, 4, 144, 0), 22960, 8),
        ("ResNet-20", (32, 2, 1, 5), (16, 32, 1, 4, 130, 2392), 44344, 1),
        ("LeNet", (32, 2, 1, 5), (10, 32, 2, 2, 74, 1044), 25968, 1),
        ("AlexNet", (32, 3, 8, 1), (28, 8, 1, 4, 160, 0), 53344, 21),
        ("VGG", (64, 2, 1, 5), (16, 32, 1, 4, 130, 2392), 77112, 96),
    ],
)
def test_weight_gradients(layer: str, warps: tuple[int, ...], cut: tuple[int, ...], shared: int, each: int) -> None:
    found = first.weight_plan(*_layer(layer))
    assert found is not None
    assert (found.filters, found.parts, found.across, found.deep) == warps
    assert _of_cut(found.cut) == cut
    assert (found.shared, found.each) == (shared, each)


def test_tiles_of_filters_of_a_weight_gradient_have_tickets() -> None:
    window = _window(8, 8, 1, 1, (1, 1), (0, 0), (1, 1))
    assert first.weight_plan(1, (128 * 64, 1, 1, 4), window, True) is not None
    assert first.weight_plan(1, (128 * 64 + 8, 1, 1, 4), window, True) is None


def test_a_batch_of_more_pixels_than_an_int_counts_is_refused() -> None:
    weight, window = (8, 3, 3, 3), _window(2**10, 2**10, 3, 3, (1, 1), (1, 1), (1, 1))
    found = first.plan(2**11, weight, window, True)
    assert found is not None
    with pytest.raises(UsageError, match="split the batch"):
        first._kernel_shape(2**11, weight, window, True, found.cut, found.each, found.groups)


def _passes(slots: first.Slots, dilation: int, pitch: int, apart: int) -> int:
    """How often 8 outputs and 4 slots side by side have to go over the banks; rows and copies share no word."""
    places = [tuple(map(int, place)) for place in slots.places(dilation)]
    places += [places[0]] * (-len(places) % 4)
    total = 0
    for start in range(0, len(places), 4):
        words: set[tuple[int, int, int]] = set()
        for row, number in places[start : start + 4]:
            for output in range(8):
                at = output * slots.step
                copy = at % 2 if slots.copies == 2 else 0  # the second copy begins a number later
                words.add((copy, row, (at - copy + copy * apart + row * pitch + number) // 2))
        met: list[int] = [0] * 32
        for *_, word in words:
            met[word % 32] += 1
        total += max(met)
    return total


@pytest.mark.parametrize("layer", LAYERS)
def test_rows_lie_where_banks_are_met_least(layer: str) -> None:
    _, weight, window, vectors = _layer(layer)
    slots = first.slots_of(weight, window, vectors)
    for dilation in (1, 2):
        pitches, apart = first.banks(slots, dilation)
        passes = [_passes(slots, dilation, pitch, apart) for pitch in pitches]
        assert passes == sorted(passes)
        assert sorted(pitches) == list(range(0, 64, 8 if slots.vec > 1 else 2))
        if slots.copies == 1:
            assert apart == 0
        else:
            of_aparts: Any = {one: _passes(slots, dilation, 2 * slots.length, one) for one in range(0, 64, 2)}
            assert of_aparts[apart] == min(of_aparts.values())
