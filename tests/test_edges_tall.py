"""The last rows of one image of more than 2^32 elements, on the emulator, as ``test_edges_far`` has the last images.

Without padding the last rows of what is computed are those of a low image with the same last rows. Likewise the last
columns of wide matrices, where columns are summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn._window import Window
from gpunn.gpu.launcher import trace_launches
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY
from tests.test_battery import assert_same
from tests.test_edges_far import _end_of, _Far

import_all()
pytestmark = pytest.mark.emulator
_LOW = 12  # rows of the low image
_TALL = 2**23  # more: of 512 elements each, and a multiple of all strides
_Make = Callable[..., np.ndarray]  # an image's rows from their number and what follows


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Far]:
    path = tmp_path_factory.mktemp("tall") / "memory"
    yield _Far(path)
    path.unlink()


def _window(h: int, w: int, size: int, stride: int) -> Window:
    return Window(h, w, size, size, (stride, stride), (0, 0), (1, 1))


def _numbers(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(4)).standard_normal(shape).astype(np.float32)


def _conv2d(h: int, make: _Make, w: int, c: int, k: int, groups: int, back: bool, side: int = 3) -> dict[str, Any]:
    window = _window(h, w, side, 1)
    weight = _numbers(k, side, side, c // groups)
    made = {"x": make(h, w, c), "weight": weight, "window": window, "groups": groups}
    if back:
        return {**made, "dy": make(window.P, window.Q, k), "y": None, "needs": (True, False, False)}
    return {**made, "bias": None, "relu": False}


def _max_pool2d_backward(h: int, make: _Make, stride: int) -> dict[str, Any]:
    window = _window(h, 8, 2, stride)
    offset = make(window.P, window.Q, 64, dtype=np.uint8)
    return {"dy": make(window.P, window.Q, 64), "offset": offset, "window": window}


def _avg_pool2d(h: int, make: _Make, back: bool) -> dict[str, Any]:
    window = _window(h, 8, 3, 1)
    x = make(window.P, window.Q, 64) if back else make(h, 8, 64)
    return {"dy" if back else "x": x, "window": window, "count_include_pad": True, "divisor": 0}


def _adaptive_max_backward(h: int, make: _Make) -> dict[str, Any]:
    """Every output has its gradient go to the first pixel of its window."""
    index = make(h // 2, 4, 64, dtype=np.int64)
    rows = np.arange(max(0, h // 2 - _LOW), h // 2)  # whatever lies before is not looked at
    index[:, rows] = (2 * rows[:, None, None] * 8) + 2 * np.arange(4)[:, None]
    return {"dy": make(h // 2, 4, 64), "index": index, "height": h, "width": 8}


# The arguments for an image of h rows, and how many rows of the result are not those of the low image.
_CASES: dict[str, tuple[str, Callable[[int, _Make], dict[str, Any]], int]] = {
    "max_pool2d_forward": ("max_pool2d_forward", lambda h, f: {"x": f(h, 8, 64), "window": _window(h, 8, 2, 2)}, 0),
    "max_pool2d_backward": ("max_pool2d_backward", lambda h, f: _max_pool2d_backward(h, f, 1), 1),
    "max_pool2d_backward_pairs": ("max_pool2d_backward", lambda h, f: _max_pool2d_backward(h, f, 2), 0),
    "avg_pool2d_forward": ("avg_pool2d_forward", lambda h, f: _avg_pool2d(h, f, False), 0),
    "avg_pool2d_backward": ("avg_pool2d_backward", lambda h, f: _avg_pool2d(h, f, True), 2),
    "adaptive_avg_forward": ("adaptive_avg_pool2d_forward", lambda h, f: {"x": f(h, 8, 64), "size": (h // 2, 4)}, 0),
    "adaptive_avg_backward": (
        "adaptive_avg_pool2d_backward",
        lambda h, f: {"dy": f(h // 2, 4, 64), "height": h, "width": 8},
        0,
    ),
    "adaptive_max_forward": ("adaptive_max_pool2d_forward", lambda h, f: {"x": f(h, 8, 64), "size": (h // 2, 4)}, 0),
    "adaptive_max_backward": ("adaptive_max_pool2d_backward", _adaptive_max_backward, 0),
    "tiled_forward": ("conv2d_forward", lambda h, f: _conv2d(h, f, 8, 64, 8, 1, False), 0),
    "tiled_backward": ("conv2d_backward", lambda h, f: _conv2d(h, f, 8, 64, 64, 1, True), 2),
    "narrow_forward": ("conv2d_forward", lambda h, f: _conv2d(h, f, 8, 64, 64, 64, False, 2), 0),
    "narrow_backward": ("conv2d_backward", lambda h, f: _conv2d(h, f, 8, 64, 64, 64, True, 2), 2),
    "narrow_3x3_forward": ("conv2d_forward", lambda h, f: _conv2d(h, f, 8, 64, 64, 64, False), 0),
    "narrow_3x3_backward": ("conv2d_backward", lambda h, f: _conv2d(h, f, 8, 64, 64, 64, True), 2),
    "first_forward": ("conv2d_forward", lambda h, f: _conv2d(h, f, 128, 4, 8, 1, False), 0),
}


@pytest.mark.parametrize("case", sorted(_CASES))
def test_the_last_rows_are_those_of_a_low_image(case: str, far: _Far) -> None:
    from gpunn.emulator import only_blocks

    name, arguments, cut = _CASES[case]
    rng = np.random.Generator(np.random.Philox(3))
    drawn: list[np.ndarray] = []

    def draw(height: int, *rest: int, dtype: Any = np.float32) -> np.ndarray:
        numbers = 3 * rng.standard_normal((1, height, *rest))
        drawn.append(np.abs(numbers).astype(dtype) if np.dtype(dtype).kind in "iu" else numbers.astype(dtype))
        return drawn[-1]

    def place(height: int, *rest: int, dtype: Any = np.float32) -> np.ndarray:
        low = drawn.pop(0)
        image = far.empty((1, height, *rest), dtype)
        image[:, -low.shape[1] :] = low
        return image

    def first(result: Any) -> np.ndarray:
        array: np.ndarray = result[0] if isinstance(result, tuple) else result
        return array

    primitive, low = REGISTRY[name], arguments(_LOW, draw)
    expected = first(primitive.plain(np, **low))
    with trace_launches() as launches:
        primitive(device("emulator"), **low)
    count = 2 + max(math.prod(launch.grid) for launch in launches)
    far.clear()
    tall = arguments(_LOW + _TALL, place)
    with only_blocks(lambda grid: _end_of(grid, count, 1)):
        result = first(primitive(far, **tall))
    rows = expected.shape[1] - cut
    assert_same(case, result[:, -rows:], expected[:, cut:], primitive.tolerance)
    assert max(a.size for a in (result, *tall.values()) if isinstance(a, np.ndarray)) > 2**32


_NARROW, _WIDE, _ROWS = 128, 65534 * 128, 516  # columns of a matrix, and more of them: as many as are taken
_SUMS: dict[str, Callable[[Callable[..., np.ndarray]], dict[str, Any]]] = {
    "bias_backward": lambda f: {"dy": f(_ROWS), "y": f(_ROWS), "wants_bias": True},
    "batch_norm_statistics": lambda f: {
        "x": f(_ROWS),
        "running_mean": f(),
        "running_var": f(),
        "batches": None,
        "momentum": 0.1,
    },
    "batch_norm_backward": lambda f: {
        "dy": f(_ROWS),
        "x": f(_ROWS),
        "y": f(_ROWS),
        "mean": f(),
        "var": np.abs(f()),
        "weight": f(),
        "bias": None,
        "eps": 1e-3,
        "training": True,
        "added": True,
        "needs": (True, True, True, True),
    },
}


@pytest.mark.parametrize("name", sorted(_SUMS))
def test_the_last_columns_are_those_of_a_narrow_matrix(name: str, far: _Far) -> None:
    from gpunn.emulator import only_blocks

    rng = np.random.Generator(np.random.Philox(5))
    narrow = _SUMS[name](lambda *rows: rng.standard_normal((*rows, _NARROW)).astype(np.float32))
    far.clear()
    wide: dict[str, Any] = {}
    for key, value in narrow.items():
        wide[key] = value
        if isinstance(value, np.ndarray):
            wide[key] = far.empty((*value.shape[:-1], _WIDE + _NARROW), value.dtype)
            wide[key][..., -_NARROW:] = value
    primitive = REGISTRY[name]
    expected = primitive.plain(np, **narrow)
    with only_blocks(lambda grid: _end_of(grid, 4, 1)):
        result = primitive(far, **wide)
    pairs = [*zip(result, expected, strict=True), *((wide[m], narrow[m]) for m in primitive.mutates)]
    for number, (got, want) in enumerate(pairs):
        assert_same(f"{name} {number}", None if got is None else got[..., -_NARROW:], want, primitive.tolerance)
    assert max(a.size for a in wide.values() if isinstance(a, np.ndarray)) > 2**32
