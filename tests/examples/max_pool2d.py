"""Example inputs of the primitives of ``gpunn/ops/max_pool2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._window import Window
from gpunn.ops.max_pool2d import _CHANNELS_FIRST, max_pool2d_backward, max_pool2d_forward, max_pool2d_indices
from tests.examples import examples_for


def _windows(rng: np.random.Generator) -> list[tuple[np.ndarray, Window]]:
    def case(n: int, h: int, w: int, c: int, *args: Any, dtype: Any = np.float32) -> tuple[np.ndarray, Window]:
        x = rng.integers(-4, 5, (n, h, w, c)).astype(dtype)  # few values: ties are common
        return x, Window(h, w, *args)

    cases = [
        case(2, 6, 6, 4, 2, 2, (2, 2), (0, 0), (1, 1)),
        case(1, 7, 5, 3, 3, 3, (2, 2), (1, 1), (1, 1)),
        case(2, 7, 8, 8, 3, 2, (1, 3), (1, 0), (2, 1)),
        case(1, 6, 6, 5, 3, 3, (2, 2), (0, 0), (1, 1), True),
        case(0, 4, 4, 2, 2, 2, (2, 2), (0, 0), (1, 1)),
        case(1, 1, 4, 3, 1, 2, (1, 3), (0, 0), (1, 1), True),  # as many elements as the image, but not all of them
        case(2, 5, 5, 4, 2, 2, (2, 2), (0, 0), (1, 1), dtype=np.float64),
        case(2, 1, 3, 4, 2, 2, (1, 1), (1, 1), (2, 2)),  # windows that touch nothing
        case(4, 17, 19, 3, 3, 2, (2, 2), (1, 0), (1, 1)),  # several blocks
    ]
    # The largest window that a ReLU leaves a code for, and one element more than a signed byte counts.
    large = [
        case(1, 17, 26, 4, 15, 17, (1, 1), (7, 8), (1, 1)),
        case(12, 1, 140, 1, 1, 129, (1, 1), (0, 0), (1, 1)),
    ]
    for x, _ in large:
        x[...] = 1 + rng.permutation(x.size).reshape(x.shape)
        x[:, :, -1] += x.size  # what lies last in an image wins where it is seen
    cases += large
    cases[1][0].flat[::7] = np.nan
    cases[1][0].flat[1::5] = -np.inf
    return cases


def _wide(rng: np.random.Generator) -> list[tuple[np.ndarray, Window]]:
    """Windows about as large as the numbers of a byte, and of two; in each first channel the last element wins.

    Of 256 elements a byte names all, but not a ReLU's mask beside them.
    """

    def case(shape: tuple[int, int, int, int], *args: Any, dtype: Any = np.float32) -> tuple[np.ndarray, Window]:
        x = rng.permutation(np.prod(shape)).reshape(shape).astype(dtype) - x_below
        window = Window(*shape[1:3], *args)
        x[:, window.R - 1 - window.padding[0], window.S - 1 - window.padding[1], 0] = 1e6
        return x, window

    x_below = 40  # some numbers are negative, so that a ReLU closes
    return [
        case((1, 16, 17, 2), 16, 16, (1, 1), (0, 0), (1, 1)),
        case((2, 17, 17, 1), 1, 17, (1, 1), (0, 0), (1, 1)),
        case((1, 1, 600, 4), 1, 257, (1, 257), (0, 0), (1, 1)),  # in a tile each
        case((1, 1, 520, 3), 1, 258, (1, 5), (0, 100), (1, 1), dtype=np.float64),
        case((3, 28, 28, 4), 28, 28, (28, 28), (0, 0), (1, 1)),
        case((1, 40, 23, 5), 17, 16, (7, 3), (8, 5), (2, 1)),
    ]


@examples_for(max_pool2d_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"x": x, "window": window, "flat": flat, "relu": relu}
        for flat, relu in ((False, False), (True, False), (False, True), (True, True))
        for x, window in [*_windows(rng), *_wide(rng)]
    ]


@examples_for(max_pool2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    hows = ((False, False), (True, False), (False, True))
    cases = [(x, window, *how) for x, window in [*_windows(rng), *_wide(rng)] for how in hows]
    for x, window, flat, relu in cases:
        y, offset = max_pool2d_forward.plain(np, x, window, False, relu)
        shape = [y.shape[axis] for axis in _CHANNELS_FIRST] if flat else y.shape
        dy = rng.standard_normal(shape).astype(x.dtype)
        made.append({"dy": dy, "offset": offset, "window": window, "flat": flat})
    return made


@examples_for(max_pool2d_indices)
def _indices_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"offset": e["offset"], "window": e["window"]} for e in _backward_examples(rng)[::3]]
