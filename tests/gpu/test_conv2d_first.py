"""The weight gradient of first layers (``kernels/conv2d_first.cu``), whose blocks add up what they have in a tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn._window import Window
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.conv2d import conv2d_backward
from tests.devices import call


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
