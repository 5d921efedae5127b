"""Launches of convolutions by tiles: what is too far for their kernels, phases, vectors, and ways to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn._winograd
from gpunn._device import device
from gpunn._window import Window
from gpunn.errors import UsageError
from gpunn.gpu import conv2d as tiled
from gpunn.gpu.choices import Way
from gpunn.gpu.launcher import trace_launches
from tests.convolutions import numbers as _numbers
from tests.traces import dry_launches


def _window(
    h: int, w: int, r: int, s: int, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1)
) -> Window:
    return Window(h, w, r, s, stride, padding, dilation, False, padding)


# -- what is too far ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "filter_shape"),
    [((1, 3, 2**20, 1024), (3, 1)), ((1, 1, 2**23, 512), (1, 3)), ((2**15, 1, 1, 2**16), (1, 1))],
)
def test_a_filter_of_too_wide_a_reach_is_refused(shape: tuple[int, ...], filter_shape: tuple[int, int]) -> None:
    n, h, w, c = shape
    window = Window(h, w, *filter_shape, (1, 1), (0, 0), (1, 2**21 if filter_shape[1] > 1 else 1))
    with pytest.raises(UsageError, match=r"kernels count at most 2\^31 - 1. Use smaller images or filters"):
        tiled.refuse_wide(n, c, 2**15 if n > 1 else 8, window, 1)


def test_images_whose_neighbours_are_too_far_are_refused() -> None:
    window = Window(2**14, 2**14, 2, 2, (2**14, 2**14), (0, 0), (1, 1))  # a pixel of output an image
    tiled.refuse_wide(8, 4, 8, window, 1)  # the fewest pixels of a step lead behind the last image
    with pytest.raises(UsageError, match="a step within 9 images of 16384 x 16384 with 4 channels span 8589934592"):
        tiled.refuse_wide(9, 4, 8, window, 1)


def test_large_images_are_not_refused() -> None:
    for h, w, c in ((20_000, 20_000, 3), (1, 10_000_000, 64), (4096, 4096, 64)):
        tiled.refuse_wide(1, c, 64, Window(h, w, min(h, 3), 3, (1, 1), (min(h, 3) // 2, 1), (1, 1)), 1)


def _is_refused(n: int, c: int, k: int, window: Window, groups: int = 1) -> bool:
    try:
        tiled.refuse_wide(n, c, k, window, groups)
    except UsageError:
        return True
    return False


def test_the_largest_filters_that_are_taken() -> None:
    assert not _is_refused(1, 2**12 - 1, 2**17, _window(2, 2, 2, 2))
    assert _is_refused(1, 2**12, 2**17, _window(2, 2, 2, 2))
    assert not _is_refused(1, 2**13 - 2, 2**18, _window(2, 2, 2, 2), 2)
    assert _is_refused(1, 2**13, 2**18, _window(2, 2, 2, 2), 2)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_the_farthest_outputs_of_a_pixel_that_are_taken(stride: tuple[int, int]) -> None:
    """Filter elements that read a pixel are a stride apart, so of 2 or 3 there are two."""
    elements = 1 + stride[0]

    def down(outputs: int) -> bool:  # 65 rows apart, of as many outputs
        window = _window(65 * elements, stride[1] * outputs, elements, 1, stride, dilation=(65, 1))
        return _is_refused(1, 1, 2**15, window)

    def across(apart: int) -> bool:
        return _is_refused(1, 1, 2**15, _window(1, 2**18, 1, elements, stride, dilation=(1, apart)))

    assert not down(2**16 // 65)
    assert down(2**16 // 65 + 1)
    assert not across(2**16 - 3)
    assert across(2**16 - 1)


def test_how_far_a_step_goes() -> None:
    """As counted pixel by pixel."""
    n, c = 3, 5
    for h, w in ((9, 8), (4, 13), (7, 3), (2, 2)):
        for stride in ((1, 1), (3, 1), (1, 2), (2, 3)):
            window = _window(h, w, 2, 2, stride)
            image, row, column = np.indices((n, window.P, window.Q)).reshape(3, -1)
            corner = ((image * h + row * stride[0]) * w + column * stride[1]) * c
            for ahead in (1, 2, 5, 8, 16, 32):
                farthest = np.abs(corner[ahead:] - corner[:-ahead]).max(initial=0)
                assert tiled._furthest(n, c, window, ahead) == farthest, (h, w, stride, ahead)


def test_phases_have_pixels() -> None:
    """There are no more of them than rows, or columns, however far apart the windows are."""
    assert tiled.phases_of(_window(9, 8, 3, 3, (2, 3)), 5) == (6, 5 * 5 * 3)
    assert tiled.phases_of(_window(2, 8, 2, 3, (3, 2)), 5) == (4, 5 * 1 * 4)
    assert tiled.phases_of(_window(9, 2, 3, 2, (2, 3)), 5) == (4, 5 * 5 * 1)


# -- vectors --------------------------------------------------------------------------------------


def _after(where: Any, array: np.ndarray, skipped: int) -> Any:
    """The same on a device, ``skipped`` numbers after the beginning of a vector."""
    flat = where.array(np.concatenate([np.zeros(skipped, array.dtype), array.reshape(-1)]))
    return flat[skipped:].reshape(array.shape)


def _widths(where: Any, c: int, k: int, skipped: str = "", by: int = 0) -> tuple[str, ...]:
    """The widths of vectors forward, for each gradient, and for both, where one array begins so far after a vector."""
    window = _window(7, 6, 3, 3)
    shapes = {"dy": (2, 5, 4, k), "y": (2, 5, 4, k), "x": (2, 7, 6, c), "weight": (k, 3, 3, c), "more": (2, 7, 6, c)}
    arrays = {name: _after(where, _numbers(*shape), by if name == skipped else 0) for name, shape in shapes.items()}
    dy, y, x, weight, more = arrays.values()
    with trace_launches() as launches:
        tiled.forward(where, x, weight, window, 1, None, False)
        tiled.backward_weight(where, dy, y, x, weight, window, 1, True, True, lambda: (None, None))
        tiled.backward_data(where, dy, weight, x.shape, window, 1, more)
        tiled.backward(where, dy, y, x, weight, window, 1, True, more, lambda: (None, None, None))
    names = [f"conv2d_{part}" for part in ("forward", "backward_weight", "backward_data", "backward")]
    assert [launch.kernel for launch in launches] == names
    return tuple(launch.macros["VEC"] for launch in launches)


def test_vectors_are_as_wide_as_all_arrays_allow(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpunn._winograd, "_enabled", False)
    where = device(kernels)
    assert _widths(where, 8, 12) == ("4", "4", "4", "4")
    assert _widths(where, 6, 12) == ("2", "2", "2", "2")
    assert _widths(where, 8, 10) == ("4", "2", "2", "2")
    assert _widths(where, 7, 12) == ("1", "1", "1", "1")
    assert _widths(where, 8, 9) == ("4", "1", "1", "1")
    assert _widths(where, 8, 12, "dy", 1) == ("4", "1", "1", "1")
    assert _widths(where, 8, 12, "y", 2) == ("4", "2", "4", "2")
    assert _widths(where, 8, 12, "x", 1) == ("1", "1", "4", "1")
    assert _widths(where, 8, 12, "weight", 2) == ("2", "4", "2", "2")
    assert _widths(where, 8, 12, "more", 1) == ("4", "4", "1", "1")


# -- ways -----------------------------------------------------------------------------------------


@pytest.mark.emulator
def test_ways_that_may_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, by the pixels and channels of what a kernel writes."""
    monkeypatch.setattr(gpunn._winograd, "_enabled", False)
    tried: dict[str, list[Way]] = {}

    def best(where: Any, source: Any, kernel: str, facts: Any, rule: Way, others: Callable[[], Any], run: Any) -> Any:
        tried[kernel] = others()
        return run(rule)

    monkeypatch.setattr(tiled, "best", best)
    where, window = device("emulator"), _window(12, 12, 3, 3, padding=(1, 1))
    for c, k in ((24, 72), (72, 24)):
        x, weight, dy = (where.array(_numbers(*shape)) for shape in ((1, 12, 12, c), (k, 3, 3, c), (1, 12, 12, k)))
        with dry_launches():
            tiled.forward(where, x, weight, window, 1, None, False)
            tiled.backward_data(where, dy, weight, x.shape, window, 1, None)
        wide, narrow = [(128,), (64,), (32,)], [(32,)]
        assert tried.pop("conv2d_forward") == (wide if k == 72 else narrow)
        assert tried.pop("conv2d_backward_data") == (wide if c == 72 else narrow)
