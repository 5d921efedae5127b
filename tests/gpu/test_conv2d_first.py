"""First layers (``kernels/conv2d_first.cu``): what plans want of shared memory; how blocks add up, in a tree."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gpunn._window import Window
from gpunn.emulator import compile_module
from gpunn.gpu import conv2d_first
from gpunn.gpu.launcher import SHARED_MOST, trace_launches
from gpunn.ops.conv2d import conv2d_backward
from tests.devices import call


@pytest.mark.emulator
@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("back", [False, True])
def test_no_plan_wants_more_shared_memory_than_a_block_has(itemsize: int, back: bool) -> None:
    """What the kernel's own variables take comes on top of what the plan counts."""
    real, kernel = {4: "float", 8: "double"}[itemsize], f"conv2d_first_{'backward_weight' if back else 'forward'}"
    source = conv2d_first.SOURCE
    static = {
        tn: compile_module(source.text, source.file, {"REAL": real, "TN": str(tn)}).static_shared(kernel)
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
