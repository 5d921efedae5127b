"""The CPU's ways of convolving: each against the plain body in float64, whatever would be chosen for the shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._window import Window
from gpunn.cpu import threads
from gpunn.cpu.conv2d import direct, ways
from gpunn.cpu.conv2d.tasks import Problem, Sizes, cut_by
from gpunn.cpu.conv2d.ways import WAYS, choose, forced
from gpunn.errors import UsageError
from gpunn.nn import functional as F
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward

# Sums of up to 1500 products in another order than the plain body's; Winograd's own bound is below.
_DIRECT, _WINOGRAD = 2e-6, 1e-5


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)
    gpunn.set_winograd_enabled(True)


# Several tasks, lanes and shares in small images too.
SMALL = Sizes(block=2000, least=1, batch=50_000, sums=5000, row_sums=5000, depth=3)


def error(got: np.ndarray | None, expected: np.ndarray) -> float:
    assert got is not None
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    scale = np.abs(expected).max(initial=1e-30)
    return float(np.abs(got - expected).max(initial=0) / scale)


def compare(case: dict, accepted: float) -> None:
    """Forward and both gradients."""
    rng, window, groups = case["rng"], case["window"], case["groups"]
    x, weight, bias = (rng.standard_normal(case[name]).astype(np.float32) for name in ("x", "weight", "bias"))
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    y = conv2d_forward.plain(np, *wide[:2], window, groups, wide[2], case["relu"])
    assert error(ways.forward(x, weight, window, groups, bias, case["relu"]), y) < accepted
    dz = rng.standard_normal(y.shape).astype(np.float32)
    asked = (True, True, False)
    expected = conv2d_backward.plain(np, dz.astype(np.float64), None, *wide[:2], window, groups, asked)
    got = ways.backward(dz, x, weight, window, groups, (True, True))
    assert error(got[0], expected[0]) < accepted
    assert error(got[1], expected[1]) < accepted


@st.composite
def cases(draw: st.DrawFn, way: str) -> dict:
    kernel, stride, dilation, groups = (3, 3), (1, 1), (1, 1), 1
    small, sides = st.integers(1, 3), st.integers(0, 3)
    c, k = draw(st.integers(1, 19)), draw(st.integers(1, 19))
    if way == "winograd_rows":
        kernel = draw(small), draw(st.sampled_from([3, 5]))
    elif way == "product":
        kernel = (1, 1)
    elif not way.startswith("winograd"):
        kernel, stride, dilation = (draw(st.tuples(small, small)) for _ in range(3))
        groups = draw(st.sampled_from([1, 1, 2, 5])) if way != "depthwise" else draw(st.integers(2, 19))
    if way == "depthwise":
        c = k = 1
    size = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    padding, end = draw(st.tuples(sides, sides)), draw(st.tuples(sides, sides))
    if way == "product":
        padding = end = (0, 0)
    window = Window(*size, *kernel, stride, padding, dilation, False, end)
    assume(window.P > 0 and window.Q > 0)
    n = draw(st.sampled_from([0, 1, 2, 5]))
    return {
        "x": (n, *size, groups * c),
        "weight": (groups * k, *kernel, c),
        "bias": (groups * k,),
        "window": window,
        "groups": groups,
        "relu": draw(st.booleans()),
        "rng": np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16)))),
    }


_WAYS = sorted({way.name for table in WAYS.values() for way in table})


@pytest.mark.parametrize("way", _WAYS)
def test_each_way_is_the_plain_body(way: str) -> None:
    """Whatever is asked for and does not fit is computed as it would be."""

    @given(cases(way))
    @settings(max_examples=60)
    def check(case: dict) -> None:
        with forced(way), cut_by(SMALL):
            compare(case, _WINOGRAD if way.startswith("winograd") else _DIRECT)

    check()


def case_of(n: int, size: int, c: int, k: int, r: int = 3, groups: int = 1, stride: int = 1, pad: int = 1) -> dict:
    window = Window(size, size, r, r, (stride, stride), (pad, pad), (1, 1))
    return {
        "x": (n, size, size, c),
        "weight": (k, r, r, c // groups),
        "bias": (k,),
        "window": window,
        "groups": groups,
        "relu": True,
        "rng": np.random.Generator(np.random.Philox(11)),
    }


_REAL = {
    "lowered, a small batch": case_of(5, 14, 16, 16),
    "lowered, a first layer": case_of(9, 28, 1, 20, 5, pad=2),
    "product, 1 x 1": case_of(3, 28, 64, 96, 1, pad=0),
    "taps, large filters": case_of(3, 7, 256, 256, stride=2),
    "unrolled, large filters": case_of(3, 14, 64, 128, stride=2),
    "depthwise": case_of(3, 28, 72, 72, groups=72),
    "narrow groups": case_of(3, 28, 64, 64, groups=16),
    "spread": case_of(3, 28, 32, 48, stride=2),
    "winograd in tiles": case_of(4, 15, 128, 192),
    "winograd along rows, in tiles for the gradient": case_of(3, 30, 64, 64),
    "winograd along rows, LeNet's second": case_of(130, 14, 20, 50, 5, pad=2),
}
# The ways of the three: forward, the gradient of the image, of the filters.
_CHOSEN = {
    "lowered, a small batch": ("lowered", "turned", "lowered"),
    "lowered, a first layer": ("lowered", "turned", "lowered"),
    "product, 1 x 1": ("product", "turned", "product"),
    "taps, large filters": ("taps", "taps", "taps"),
    "unrolled, large filters": ("unrolled", "spread", "unrolled"),
    "depthwise": ("depthwise", "turned", "depthwise"),
    "narrow groups": ("lowered", "turned", "lowered"),
    "spread": ("lowered", "spread", "lowered"),
    "winograd in tiles": ("winograd_tiles", "turned", "winograd_tiles_together"),
    "winograd along rows, in tiles for the gradient": ("winograd_rows", "turned", "winograd_tiles"),
    "winograd along rows, LeNet's second": ("winograd_rows", "turned", "winograd_rows"),
}


def problem_of(case: dict) -> Problem:
    return Problem(case["x"][0], case["window"], case["weight"], case["groups"], np.dtype(np.float32))


@pytest.mark.parametrize("name", _REAL)
def test_real_sizes(name: str) -> None:
    case = _REAL[name]
    chosen = tuple(choose(what, problem_of(case)) for what in ("forward", "data", "weight"))
    assert chosen == _CHOSEN[name]
    compare(case, _WINOGRAD if "winograd" in name else _DIRECT)


@pytest.mark.parametrize("name", _REAL)
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    case = _REAL[name]
    rng = np.random.Generator(np.random.Philox(3))
    x, weight, bias = (rng.standard_normal(case[part]).astype(np.float32) for part in ("x", "weight", "bias"))
    how = case["window"], case["groups"]
    dz = rng.standard_normal((len(x), case["window"].P, case["window"].Q, len(weight))).astype(np.float32)
    found = []
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        y = ways.forward(x, weight, *how, bias, True)
        found.append([a.tobytes() for a in (y, *ways.backward(dz, x, weight, *how, (True, True))) if a is not None])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("case", "stated"),
    [
        (case_of(2, 28, 128, 128), 6e-6),
        (case_of(2, 28, 256, 256), 6e-6),
        (case_of(4, 28, 64, 64), 5e-6),
        (case_of(4, 28, 64, 32, 5, pad=2), 5e-6),
    ],
)
def test_winograds_error_is_what_is_stated(case: dict, stated: float) -> None:
    """Of the largest output: the numbers in the docstrings, which users decide by."""
    assert choose("forward", problem_of(case)) == ("winograd_tiles" if stated == 6e-6 else "winograd_rows")
    rng = case["rng"]
    x, weight = (rng.standard_normal(case[name]).astype(np.float32) for name in ("x", "weight"))
    exact = conv2d_forward.plain(np, x.astype(np.float64), weight.astype(np.float64), case["window"], 1, None, False)
    assert stated / 10 < error(ways.forward(x, weight, case["window"], 1, None, False), exact) < stated


@pytest.mark.parametrize(
    ("way", "channels", "taps"), [("winograd_tiles", 128, 3), ("winograd_rows", 32, 3), ("winograd_rows", 20, 5)]
)
def test_float64_and_other_geometries_are_never_winograds(way: str, channels: int, taps: int) -> None:
    def taken(n: int, size: int, stride: int = 1, dilation: int = 1, dtype: Any = np.float32, **other: Any) -> bool:
        window = Window(size, size, taps, taps, (stride, stride), (1, 1), (dilation, dilation))
        problem = Problem(n, window, (channels, taps, taps, channels), 1, np.dtype(dtype))
        return choose("forward", problem._replace(**other)) == way

    assert taken(8, 28)
    assert not taken(8, 28, dtype=np.float64)
    assert not taken(1, 6)  # too few tiles to pay for transforming the filters
    assert not taken(8, 28, groups=2)
    assert not taken(8, 28, shape=(channels, taps, taps, channels - 1 - 3 * (taps == 5)))
    assert not taken(8, 28, stride=2)
    assert not taken(8, 28, dilation=2)
    assert not taken(99, taps + 2)  # 8 columns for 5


def test_a_forced_way_computes_what_fits_it_and_nothing_else() -> None:
    small = Problem(1, Window(6, 6, 3, 3, (1, 1), (1, 1), (1, 1)), (2, 3, 3, 2), 1, np.dtype(np.float32))
    wide = small._replace(window=Window(6, 6, 3, 3, (2, 1), (1, 1), (1, 1)))
    assert choose("forward", small) == "lowered"
    with forced("winograd_rows"):
        chosen = [choose(what, small) for what in ("forward", "data", "weight")]
        assert chosen == ["winograd_rows", "turned", "winograd_rows"]
        assert choose("forward", wide) == "lowered"
        gpunn.set_winograd_enabled(False)
        assert choose("forward", small) == "lowered"
    assert choose("forward", small) == "lowered"


def test_the_switch() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    x = gpunn.tensor(rng.standard_normal((4, 64, 28, 28)).astype(np.float32))
    weight = gpunn.tensor(rng.standard_normal((64, 64, 3, 3)).astype(np.float32))
    assert gpunn.is_winograd_enabled()
    fast = F.conv2d(x, weight, padding=1).numpy()
    gpunn.set_winograd_enabled(False)
    assert not gpunn.is_winograd_enabled()
    direct = F.conv2d(x, weight, padding=1).numpy()
    exact = F.conv2d(x.double(), weight.double(), padding=1).numpy()
    errors = [np.abs(y - exact).max() / np.abs(exact).max() for y in (fast, direct)]
    assert errors[1] < 7e-7 < errors[0] < 5e-6
    with pytest.raises(UsageError, match="set_winograd_enabled: expected True or False; got 1"):
        gpunn.set_winograd_enabled(cast(Any, 1))


def test_dense_groups_and_back() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    weight = rng.standard_normal((24, 3, 2, 3)).astype(np.float32)
    dense, count = direct.dense_groups(weight, 12)
    assert (dense.shape, count) == ((24, 3, 2, 18), 2)  # 6 groups of 3 channels: the first product of at least 16
    np.testing.assert_array_equal(direct.sparse_groups(dense, count, 12), weight)
    assert np.count_nonzero(dense) == weight.size
