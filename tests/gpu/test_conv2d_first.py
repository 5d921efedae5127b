"""First layers (``kernels/conv2d_first.cu``): what plans want of shared memory; how blocks add up, in a tree."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn._window import Window
from gpunn.emulator import compile_module
from gpunn.errors import KernelError
from gpunn.gpu import conv2d_first
from gpunn.gpu.launcher import SHARED_MOST, trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from tests.devices import call


@pytest.mark.emulator
@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("back", [False, True])
def test_no_plan_wants_more_shared_memory_than_a_block_has(itemsize: int, back: bool) -> None:
    """What the kernel's own variables take comes on top of what the plan counts."""
    real, kernel = {4: "float", 8: "double"}[itemsize], f"conv2d_first_{'backward_weight' if back else 'forward'}"
    source = conv2d_first.SOURCE
    static = {
        tn: compile_module(source.text, source.file, {"REAL": real, "TN": str(tn), "GEOMETRY": "1"}).static_shared(
            kernel
        )
        for tn in (4, 8)
    }
    lengths = ((1, 2, 3, 4), (1, 3, 8, 20, 32, 33, 64, 96, 200), (1, 2, 3, 5, 7, 9, 11), (1, 2, 3, 4), (1, 2, 3))
    largest = 0
    for c, k, size, stride, dilation in itertools.product(*lengths):
        window = Window(64, 64, size, size, (stride, stride), (size // 2, size // 2), (dilation, dilation))
        if window.P < 1 or window.Q < 1:
            continue
        for plan in conv2d_first._plans((k, size, size, c), window, itemsize, back):
            bytes_ = static[plan.tn] + plan.shared * itemsize
            assert bytes_ <= SHARED_MOST, (c, k, size, stride, dilation, plan)
            assert plan.shared * itemsize <= source.dynamic_shared[kernel]
            largest = max(largest, bytes_)
    assert largest > SHARED_MOST - 64  # else this was no test


def test_a_plan_that_just_fits_is_launched(kernels: str) -> None:
    """The cheapest way to cut this layer has tiles that fill a block's shared memory, and leave no byte for more."""
    window, sizes = Window(32, 32, 9, 9, (1, 1), (8, 8), (2, 2)), {"x": (2, 32, 32, 4), "weight": (64, 9, 9, 4)}
    rng = np.random.Generator(np.random.Philox(6))
    sizes["dy"] = (2, window.P, window.Q, 64)
    arrays = {name: rng.integers(-4, 5, size).astype(np.float32) for name, size in sizes.items()}
    arguments: dict[str, Any] = {**arrays, "y": None, "window": window, "groups": 1, "needs": (False, True, True)}
    with trace_launches() as launches:
        _, dweight, dbias = call(conv2d_backward, kernels, **arguments)
    assert [launch.kernel for launch in launches] == ["conv2d_first_backward_weight"]
    _, expected, expected_bias = conv2d_backward.plain(np, **arguments)
    np.testing.assert_array_equal(dweight, expected)
    np.testing.assert_array_equal(dbias, expected_bias)


@pytest.mark.parametrize("c", [1, 3])
def test_planes_lie_in_different_banks_and_waste_little(c: int) -> None:
    for columns in range(1, 100):
        pitch = conv2d_first._pitch(columns, c)
        # Vectors of four at the same place of eight planes: all 32 banks once.
        assert len({(plane * pitch + i) % 32 for plane in range(8) for i in range(4)}) == 32
        assert pitch % 4 == 0
        # From one that will do to the next: 8 for a channel alone, 24 at most for several.
        assert columns <= pitch < columns + (8 if c == 1 else 24)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("c", [1, 2, 3, 4])
def test_planes_of_vectors_are_written_without_bank_conflicts(c: int, itemsize: int) -> None:
    places = 32 // itemsize  # of vectors, in all banks
    for columns in range(1, 100):
        pitch = conv2d_first._vector_pitch(columns, c, itemsize)
        at = [number % c * pitch + number // c * 4 for number in range(places)]  # as lanes side by side bring them
        assert len({place // 4 % places for place in at}) == places
        assert pitch % 4 == 0
        assert columns * 4 <= pitch < (columns + places) * 4


@pytest.mark.parametrize(("p", "q"), [(40, 3), (3, 40), (33, 37), (1, 70)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("back", [False, True])
def test_bands_of_rows_and_of_columns(kernels: str, p: int, q: int, dtype: Any, back: bool) -> None:
    """High and wide images, of a filter without a kernel of its own: 2 x 4, strides of 2 and 3, dilated."""
    window = Window(2 * p, 3 * q + 2, 2, 4, (2, 3), (1, 1), (3, 2))
    assert (p, q) == (window.P, window.Q)
    plan = conv2d_first.plan((6, 2, 4, 2), window, np.dtype(dtype).itemsize, back)
    assert plan is not None
    assert p == 33 or (plan.bands[0] > 0) == (p > q)
    rng = np.random.Generator(np.random.Philox(9))

    def whole(*shape: int) -> np.ndarray:
        return rng.integers(-4, 5, shape).astype(dtype)

    x, weight, dy = whole(2, window.H, window.W, 2), whole(6, 2, 4, 2), whole(2, p, q, 6)
    arguments: dict[str, Any] = {"x": x, "weight": weight, "window": window, "groups": 1}
    if back:
        arguments |= {"dy": dy, "y": np.maximum(whole(*dy.shape), 0), "needs": (False, True, True)}
        got, expected = call(conv2d_backward, kernels, **arguments)[1:], conv2d_backward.plain(np, **arguments)[1:]
    else:
        arguments |= {"bias": whole(6), "relu": True}
        got, expected = (call(conv2d_forward, kernels, **arguments),), (conv2d_forward.plain(np, **arguments),)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@functools.cache
def _layers() -> dict[tuple[bool, str], tuple[int, Window]]:
    """For each specialisation of each kernel: filters and window of a layer of three channels that takes it."""
    found: dict[tuple[bool, str], tuple[int, Window]] = {}
    # Strides 1, 2 and 4 along the columns and another along the rows; more padding at one end than at the other.
    sizes = itertools.product((3, 5, 7, 4), (1, 2, 4), (3, 6, 18, 33, 40))
    for (s, stride, k), (itemsize, back) in itertools.product(sizes, itertools.product((4, 8), (False, True))):
        window = Window(9, 21, 3, s, (2, stride), (1, s // 2), (2, 1), end_padding=(2, s // 2 + 1))
        plan = conv2d_first.plan((k, 3, s, 3), window, itemsize, back)
        if plan is not None:
            macros = {"REAL": {4: "float", 8: "double"}[itemsize], "TN": plan.tn, "GEOMETRY": plan.geometry}
            found.setdefault((back, _text(macros)), (k, window))
    return found


def _text(macros: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={macros[name]}" for name in ("REAL", "TN", "GEOMETRY"))


@pytest.mark.parametrize("macros", list(map(_text, conv2d_first.SOURCE.specialisations())))
@pytest.mark.parametrize("back", [False, True])
def test_every_specialisation_is_exact_of_whole_numbers(kernels: str, macros: str, back: bool) -> None:
    k, window = _layers()[back, macros]
    dtype = np.float32 if "float" in macros else np.float64
    rng = np.random.Generator(np.random.Philox(9))

    def whole(*shape: int) -> np.ndarray:
        return rng.integers(-4, 5, shape).astype(dtype)

    x, weight, dy = whole(2, window.H, window.W, 3), whole(k, window.R, window.S, 3), whole(2, window.P, window.Q, k)
    arguments: dict[str, Any] = {"x": x, "weight": weight, "window": window, "groups": 1}
    primitive = conv2d_backward if back else conv2d_forward
    if back:
        arguments |= {"dy": dy, "y": np.maximum(whole(*dy.shape), 0), "needs": (False, True, True)}
    else:
        arguments |= {"bias": whole(k), "relu": True}
    with trace_launches() as launches:
        got = call(primitive, kernels, **arguments)
    assert [(one.kernel.startswith("conv2d_first"), _text(one.macros)) for one in launches] == [(True, macros)]
    expected = primitive.plain(np, **arguments)
    for mine, theirs in zip(got[1:] if back else (got,), expected[1:] if back else (expected,), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_doubles_have_no_common_geometry(kernels: str) -> None:
    source = conv2d_first.SOURCE
    assert len(source.specialisations()) == 2 * 5 + 2
    with pytest.raises(KernelError, match="is not declared as a combination"):
        source.launch(device(kernels), "conv2d_first_forward", (1, 1, 1), 64, (), REAL="double", TN=4, GEOMETRY=13)


@pytest.mark.parametrize("blocks", [1, 2, 15, 16, 17, 32, 33, 256, 264])
def test_any_number_of_blocks_adds_up(kernels: str, blocks: int) -> None:
    """Sixteen are added at a time, so one less, as many and one more; an image is a tile, and a tile a block's work."""
    rng = np.random.Generator(np.random.Philox(5))
    window = Window(4, 4, 3, 3, (1, 1), (0, 0), (1, 1))
    # Small whole numbers, so that sums are exact in any order.
    sizes = {"dy": (blocks, 2, 2, 5), "x": (blocks, 4, 4, 1), "weight": (5, 3, 3, 1)}
    arrays = {name: rng.integers(-4, 5, size).astype(np.float32) for name, size in sizes.items()}
    arguments: dict[str, Any] = {**arrays, "y": None, "window": window, "groups": 1, "needs": (False, True, True)}
    for _ in range(2):  # the second finds the tickets as the first left them
        with trace_launches() as launches:
            _, dweight, dbias = call(conv2d_backward, kernels, **arguments)
        assert [(launch.kernel, launch.grid[0]) for launch in launches] == [("conv2d_first_backward_weight", blocks)]
        _, expected, expected_bias = conv2d_backward.plain(np, **arguments)
        np.testing.assert_array_equal(dweight, expected)
        np.testing.assert_array_equal(dbias, expected_bias)
