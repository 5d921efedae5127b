"""The CPU's ways of convolving: each against the plain body in float64, whatever would be chosen for the shape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import threads
from gpunn.errors import UsageError
from gpunn.nn import functional as F
from gpunn.ops import _conv2d_blocks as blocks
from gpunn.ops import _conv2d_depthwise_numpy as depthwise
from gpunn.ops import _conv2d_numpy as ways
from gpunn.ops import _conv2d_winograd as winograd
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from gpunn.ops.geometry import Window

# Sums of up to 1500 products in another order than the plain body's; Winograd's own bound is below.
_DIRECT, _WINOGRAD = 2e-6, 1e-5


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)
    winograd.set_winograd_enabled(True)


def force(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Let one way compute what it can, whatever the sizes."""
    monkeypatch.setattr(winograd, "_LEAST_CHANNELS", 1 if way.startswith("winograd") else 1 << 30)
    monkeypatch.setattr(winograd, "_LEAST_TILES", 0)
    monkeypatch.setattr(winograd, "_MOST_WASTE", 1e9)
    monkeypatch.setattr(winograd, "_LARGE_FILTERS", 0 if way == "winograd, product by product" else 1 << 30)
    monkeypatch.setattr(ways, "_LARGE_FILTERS", 0 if way == "unrolled" else 1 << 30)
    # Several tasks, lanes and shares in small images too.
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(ways, "_WHOLE_BYTES", 20_000)
    monkeypatch.setattr(ways, "_SUMS_BYTES", 5000)
    monkeypatch.setattr(winograd, "_WHOLE_BYTES", 100_000)


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
    if not way.startswith("winograd"):
        kernel, stride, dilation = (draw(st.tuples(small, small)) for _ in range(3))
        groups = draw(st.sampled_from([1, 1, 2, 5])) if way != "depthwise" else draw(st.integers(2, 19))
    if way == "depthwise":
        c = k = 1
    size = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    padding, end = draw(st.tuples(sides, sides)), draw(st.tuples(sides, sides))
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


_WAYS = ["lowered", "unrolled", "depthwise", "winograd, tile by tile", "winograd, product by product"]


@pytest.mark.parametrize("way", _WAYS)
def test_each_way_is_the_plain_body(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    force(monkeypatch, way)

    @given(cases(way))
    @settings(max_examples=60)
    def check(case: dict) -> None:
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
    "lowered, LeNet's second": case_of(5, 14, 20, 50, 5, pad=2),
    "lowered, a first layer": case_of(9, 28, 1, 20, 5, pad=2),
    "product, 1 x 1": case_of(3, 28, 64, 96, 1, pad=0),
    "unrolled, large filters": case_of(3, 7, 256, 256, stride=2),
    "depthwise": case_of(3, 28, 72, 72, groups=72),
    "narrow groups": case_of(3, 28, 64, 64, groups=16),
    "spread": case_of(3, 28, 32, 48, stride=2),
    "winograd, tile by tile": case_of(3, 30, 64, 64),
    "winograd, product by product": case_of(4, 15, 128, 192),
}


@pytest.mark.parametrize("name", _REAL)
def test_real_sizes(name: str) -> None:
    case = _REAL[name]
    used = winograd.takes(case["x"][0], case["window"], case["weight"], 1, np.float32)
    assert used == name.startswith("winograd")
    assert depthwise.takes(case["weight"], case["groups"]) == (name == "depthwise")
    compare(case, _WINOGRAD if used else _DIRECT)


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


@pytest.mark.parametrize("channels", [64, 256])
def test_winograds_error_is_what_is_stated(channels: int) -> None:
    """6e-6 of the largest output: the number in the docstring, which users decide by."""
    case = case_of(2, 28, channels, channels)
    assert winograd.takes(2, case["window"], case["weight"], 1, np.float32)
    compare(case, 6e-6)


def test_float64_and_other_geometries_are_never_winograds() -> None:
    window = Window(28, 28, 3, 3, (1, 1), (1, 1), (1, 1))
    shape = (64, 3, 3, 64)
    assert winograd.takes(2, window, shape, 1, np.float32)
    assert not winograd.takes(2, window, shape, 1, np.float64)
    assert not winograd.takes(1, window, shape, 1, np.float32)  # 49 tiles do not pay for transforming the filters
    assert not winograd.takes(2, window, shape, 2, np.float32)
    assert not winograd.takes(2, window, (64, 3, 3, 63), 1, np.float32)
    assert not winograd.takes(2, Window(28, 28, 3, 3, (2, 2), (1, 1), (1, 1)), shape, 1, np.float32)
    assert not winograd.takes(2, Window(28, 28, 3, 3, (1, 1), (1, 1), (2, 2)), shape, 1, np.float32)
    assert not winograd.takes(99, Window(5, 5, 3, 3, (1, 1), (1, 1), (1, 1)), shape, 1, np.float32)  # 64 for 25


def test_the_switch() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    x = gpunn.tensor(rng.standard_normal((2, 64, 28, 28)).astype(np.float32))
    weight = gpunn.tensor(rng.standard_normal((64, 64, 3, 3)).astype(np.float32))
    assert gpunn.is_winograd_enabled()
    fast = F.conv2d(x, weight, padding=1).numpy()
    gpunn.set_winograd_enabled(False)
    assert not gpunn.is_winograd_enabled()
    direct = F.conv2d(x, weight, padding=1).numpy()
    exact = F.conv2d(x.double(), weight.double(), padding=1).numpy()
    errors = [np.abs(y - exact).max() / np.abs(exact).max() for y in (fast, direct)]
    assert errors[1] < 1e-6 < errors[0] < 6e-6
    with pytest.raises(UsageError, match="set_winograd_enabled: expected True or False; got 1"):
        gpunn.set_winograd_enabled(1)


def test_dense_groups_and_back() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    weight = rng.standard_normal((24, 3, 2, 3)).astype(np.float32)
    dense, count = ways.dense_groups(weight, 12)
    assert (dense.shape, count) == ((24, 3, 2, 18), 2)  # 6 groups of 3 channels: the first product of at least 16
    np.testing.assert_array_equal(ways.sparse_groups(dense, count, 12), weight)
    assert np.count_nonzero(dense) == weight.size
