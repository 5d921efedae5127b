"""Back through a pooling and its convolution at once, on the CPU: both ways against the plain bodies in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunn._device import device
from gpunn._window import Window, is_plain_product
from gpunn.cpu import threads
from gpunn.cpu.conv2d import unpooled as unpool
from gpunn.cpu.conv2d.tasks import cut_by
from gpunn.cpu.conv2d.ways import forced
from gpunn.ops.conv2d_max_pool2d import conv2d_max_pool2d_backward
from tests.cpu.test_conv2d import SMALL, error

# Sums of products in another order than the plain body's; Winograd's is the convolution's own.
ACCEPTED = {"lowered": 1e-6, "winograd_rows": 1e-5}


def made(rng: np.random.Generator, n: int, c: int, k: int, window: Window, pool: Window) -> dict[str, Any]:
    codes = rng.integers(0, pool.R * pool.S, (n, pool.P, pool.Q, k)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.3] = 255  # closed by a ReLU
    arrays = {
        "dy": rng.standard_normal(codes.shape).astype(np.float32),
        "offset": codes,
        "x": rng.standard_normal((n, window.H, window.W, c)).astype(np.float32),
        "weight": rng.standard_normal((k, window.R, window.S, c)).astype(np.float32),
    }
    return {**arrays, "window": window, "groups": 1, "pool": pool}


def compare(case: dict[str, Any], needs: tuple[bool, bool, bool], accepted: float) -> None:
    got = unpool.backward(**case, needs=needs)
    assert got is not None  # it is the way
    wide = {name: a.astype(np.float64) if name in ("dy", "x", "weight") else a for name, a in case.items()}
    expected = conv2d_max_pool2d_backward.plain(np, **wide, flat=False, needs=needs)
    # Roundings are relative to what is added up, of which a sum of few numbers may leave little.
    sizes = {name: np.abs(a) if name in ("dy", "x", "weight") else a for name, a in wide.items()}
    added = conv2d_max_pool2d_backward.plain(np, **sizes, flat=False, needs=needs)
    for a, b, most, needed in zip(got, expected, added, needs, strict=True):
        assert (a is not None) == needed
        if needed:
            assert np.abs(a - b).max() <= accepted * most.max()


@st.composite
def cases(draw: st.DrawFn, way: str) -> tuple[dict[str, Any], tuple[bool, bool, bool]]:
    small, sides = st.integers(1, 3), st.integers(0, 2)
    rows = way == "winograd_rows"
    kernel = draw(small), draw(st.sampled_from([3, 5]) if rows else small)
    stride = (1, 1) if rows else draw(st.tuples(small, small))
    dilation = (1, 1 if rows else draw(small))
    size = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    pads, ends = draw(st.tuples(sides, sides)), draw(st.tuples(sides, sides))
    window = Window(*size, *kernel, stride, pads, dilation, False, ends)
    assume(window.P > 0 and window.Q > 0 and not is_plain_product(window, 1))
    r, s = draw(small), draw(st.sampled_from([1, 2, 4]) if rows else small)
    pool = Window(window.P, window.Q, r, s, (r, s), (0, 0), (1, 1))
    assume(pool.P > 0 and pool.Q > 0)
    # Padding beyond the filter's reach has a way of its own.
    data = rows and all(p < k for p, k in zip((*pads, *ends), (*kernel, *kernel), strict=True))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    case = made(rng, draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 9)), window, pool)
    return case, (data and draw(st.booleans()), True, draw(st.booleans()))


@pytest.mark.parametrize("way", ACCEPTED)
def test_each_way_is_the_plain_body(way: str) -> None:
    @given(cases(way))
    @settings(max_examples=80)
    def check(drawn: tuple[dict[str, Any], tuple[bool, bool, bool]]) -> None:
        with forced(way), cut_by(SMALL):
            compare(*drawn, ACCEPTED[way])

    check()


REAL = {
    "lowered": (130, 1, 20, Window(28, 28, 5, 5, (1, 1), (2, 2), (1, 1)), False),
    "winograd_rows": (130, 20, 50, Window(14, 14, 5, 5, (1, 1), (2, 2), (1, 1)), True),
}


@pytest.mark.parametrize("way", REAL)
def test_the_lectures_layers_with_any_number_of_threads(way: str) -> None:
    n, c, k, window, data = REAL[way]
    pool = Window(window.P, window.Q, 2, 2, (2, 2), (0, 0), (1, 1))
    case = made(np.random.Generator(np.random.Philox(8)), n, c, k, window, pool)
    needs = (data, True, True)
    compare(case, needs, ACCEPTED[way])
    before, bits = threads.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            threads.set_num_threads(number)
            found = unpool.backward(**case, needs=needs)
            assert found is not None
            bits.append([a.tobytes() for a in found if a is not None])
    finally:
        threads.set_num_threads(before)
    assert bits[0] == bits[1] == bits[2]


def test_other_poolings_and_convolutions_go_through_the_gradient_between() -> None:
    image = Window(12, 12, 3, 3, (1, 1), (1, 1), (1, 1))
    halves = Window(12, 12, 2, 2, (2, 2), (0, 0), (1, 1))
    overlapping = Window(12, 12, 3, 3, (2, 2), (1, 1), (1, 1))
    rng = np.random.Generator(np.random.Philox(9))
    for c, window, pool, needs in (
        (3, image, overlapping, (False, True, True)),
        (3, image, halves, (True, True, True)),  # lowered, and the gradient of the images is wanted
        (3, image, halves, (False, False, True)),
        (128, image, halves, (True, True, True)),  # Winograd in tiles
    ):
        case = made(rng, 40, c, c, window, pool)
        assert unpool.backward(**case, needs=needs) is None
        got = conv2d_max_pool2d_backward(device("cpu"), **case, flat=False, needs=needs)
        wide = {name: a.astype(np.float64) if name in ("dy", "x", "weight") else a for name, a in case.items()}
        expected = conv2d_max_pool2d_backward.plain(np, **wide, flat=False, needs=needs)
        for a, b in zip(got, expected, strict=True):
            assert (a is None) == (b is None)
            assert a is None or error(a, b) < 1e-5
