"""The gradient of a first layer's images (``kernels/conv2d_first_data.cu``): filters of all kinds, borders, plans."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpunn._window import Window
from gpunn.emulator import compile_module
from gpunn.gpu import conv2d_first_data
from gpunn.gpu.launcher import SHARED_MOST, trace_launches
from gpunn.ops.conv2d import conv2d_backward
from tests.devices import call

_KERNEL = "conv2d_first_backward_data"
_GEOMETRIES = tuple(map(int, conv2d_first_data.SOURCE.choices["GEOMETRY"]))


def _arguments(
    c: int, k: int, window: Window, *, more: bool = False, dtype: Any = np.float32, images: int = 2, seed: int = 0
) -> dict[str, Any]:
    """Arguments of a gradient of whole numbers, of which every sum is exact."""
    rng = np.random.default_rng(seed)
    x = (images, window.H, window.W, c)
    sizes = {"dy": (images, window.P, window.Q, k), "x": x, "weight": (k, window.R, window.S, c)}
    arrays: dict[str, Any] = {name: rng.integers(-4, 5, size).astype(dtype) for name, size in sizes.items()}
    arrays["more"] = rng.integers(-4, 5, x).astype(dtype) if more else None
    return {**arrays, "y": None, "window": window, "groups": 1, "needs": (True, False, False)}


def _check(kernels: str, arguments: dict[str, Any], geometry: int | None = None) -> None:
    with trace_launches() as launches:
        dx, _, _ = call(conv2d_backward, kernels, **arguments)
    assert [launch.kernel for launch in launches] == [_KERNEL]
    if geometry is not None:
        assert launches[0].macros["GEOMETRY"] == str(geometry)
    expected, _, _ = conv2d_backward.plain(np, **arguments)
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("geometry", [g for g in _GEOMETRIES if g > 1])
def test_filters_that_have_a_kernel_of_their_own(kernels: str, geometry: int, c: int) -> None:
    """With all paddings that make a difference: where a row's first pixel lies, and beyond the filter."""
    stride, taps = divmod(geometry, 10)
    for pad in range(taps):
        window = Window(21, 70, taps, taps, (stride, stride), (taps - 1 - pad, pad), (1, 1))
        _check(kernels, _arguments(c, 9, window, more=pad == 1), geometry)


@pytest.mark.parametrize("c", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("filter_size", "stride", "padding", "dilation"),
    [
        ((3, 3), (1, 1), (1, 1), (2, 2)),
        ((5, 2), (3, 2), (0, 2), (1, 3)),
        ((2, 3), (4, 5), (1, 0), (1, 1)),  # pixels that no window has
        ((3, 3), (4, 6), (5, 7), (2, 3)),  # the same of a dilation; padding of more than a stride
        ((9, 1), (1, 3), (4, 0), (1, 1)),
    ],
)
def test_any_filter(
    kernels: str,
    c: int,
    dtype: Any,
    filter_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    window = Window(25, 29, *filter_size, stride, padding, dilation)
    _check(kernels, _arguments(c, 13, window, dtype=dtype, more=c == 2), 1)


@pytest.mark.parametrize("k", [1, 3, 4, 5, 8, 12, 16])
def test_every_number_of_filters(kernels: str, k: int) -> None:
    """Fewer than a vector, one and two vectors, and what is left of a step."""
    _check(kernels, _arguments(3, k, Window(9, 11, 3, 3, (1, 1), (1, 1), (1, 1)), images=3))


def test_filters_that_are_no_vectors_in_memory(kernels: str) -> None:
    """Numbers that begin at an odd address are read one by one."""
    arguments = _arguments(3, 8, Window(9, 11, 3, 3, (1, 1), (1, 1), (1, 1)))
    odd = np.empty(arguments["dy"].size + 1, np.float32)[1:].reshape(arguments["dy"].shape)
    odd[...] = arguments["dy"]
    _check(kernels, arguments | {"dy": odd})


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (33, 65), (32, 64)])
def test_images_around_a_tile(kernels: str, size: tuple[int, int]) -> None:
    for taps, stride in ((3, 1), (7, 2)):
        window = Window(*size, taps, taps, (stride, stride), (taps // 2, taps // 2), (1, 1))
        _check(kernels, _arguments(3, 5, window))


def test_nothing_is_written_beside_the_images(kernels: str) -> None:
    """Tiles are larger than an image, and begin before it."""
    window = Window(3, 5, 7, 7, (2, 2), (3, 3), (1, 1))
    for images in (1, 2, 5):
        _check(kernels, _arguments(3, 4, window, images=images, more=True))


def test_what_does_not_fit_is_a_product(kernels: str) -> None:
    """A dilation so large that dz under a tile has no room; the gradient is that of the other kernel."""
    window = Window(601, 601, 3, 3, (1, 1), (0, 0), (300, 300))
    assert not conv2d_first_data.takes((2, 3, 3, 1), 1, window, 4)
    with trace_launches() as launches:
        arguments = _arguments(1, 2, window, images=1)
        dx, _, _ = call(conv2d_backward, kernels, **arguments)
    assert [launch.kernel for launch in launches] == ["conv2d_backward_data"]
    np.testing.assert_array_equal(dx, conv2d_backward.plain(np, **arguments)[0])


@pytest.mark.parametrize(
    ("weight", "groups", "taken"),
    [((64, 7, 7, 3), 1, True), ((6, 5, 5, 1), 1, True), ((64, 3, 3, 5), 1, False), ((64, 3, 3, 4), 2, False)],
)
def test_which_layers_are_taken(weight: tuple[int, int, int, int], groups: int, taken: bool) -> None:
    window = Window(32, 32, weight[1], weight[2], (1, 1), (1, 1), (1, 1))
    assert conv2d_first_data.takes(weight, groups, window, 4) == taken


@pytest.mark.emulator
@pytest.mark.parametrize("itemsize", [4, 8])
def test_no_plan_wants_more_than_a_block_has(itemsize: int) -> None:
    real, source = {4: "float", 8: "double"}[itemsize], conv2d_first_data.SOURCE
    macros = {"REAL": real, "CHANNELS": "3", "GEOMETRY": "1"}
    assert compile_module(source.text, source.file, macros).static_shared(_KERNEL) == 0
    lengths = ((1, 3, 4), (1, 8, 64), (1, 2, 3, 5, 7, 11), (1, 2, 4), (1, 3))
    largest = 0
    for c, k, size, stride, dilation in itertools.product(*lengths):
        window = Window(64, 64, size, size, (stride, stride), (size // 2, size // 2), (dilation, dilation))
        if window.P < 1:
            continue
        for plan in conv2d_first_data._plans((k, size, size, c), window, itemsize):
            assert plan.shared * itemsize <= SHARED_MOST
            assert 64 <= plan.threads <= 128
            # Eight threads side by side, in as many rows, read vectors that lie in different banks.
            assert len({row * plan.pitch % 8 for row in range(8)}) == 8
            largest = max(largest, plan.shared * itemsize)
    assert largest > SHARED_MOST - 512  # else this was no test


def test_customary_layers_are_cut_so() -> None:
    """The tile that is chosen, so that a change is seen: few pixels beyond the image, two vectors of K at a time."""
    layers = {
        ((64, 7, 7, 3), Window(224, 224, 7, 7, (2, 2), (3, 3), (1, 1))): (27, 32, 24, 2),
        ((64, 3, 3, 3), Window(32, 32, 3, 3, (1, 1), (1, 1), (1, 1))): (13, 32, 32, 2),
        ((64, 4, 4, 3), Window(64, 64, 4, 4, (2, 2), (1, 1), (1, 1))): (24, 16, 40, 2),
        ((6, 5, 5, 1), Window(28, 28, 5, 5, (1, 1), (2, 2), (1, 1))): (15, 32, 32, 2),
    }
    for layer, cut in layers.items():
        plan = conv2d_first_data.plan(*layer, 4)
        assert plan is not None
        assert (plan.geometry, plan.high, plan.wide, plan.planes) == cut
