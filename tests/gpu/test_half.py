"""Products and convolutions of 16-bit numbers by tensor cores: nothing is rounded but what comes out, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn._device import Device, device
from gpunn.emulator import counting
from gpunn.gpu import conv2d, half
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.bias import bias_backward
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from gpunn.ops.linear import linear_backward
from gpunn.ops.matmul import gemm
from tests.convolutions import on as _on
from tests.devices import host, in_order
from tests.emulator import kernel_counts
from tests.halves import KINDS
from tests.halves import check as _check
from tests.halves import kernels_of as _kernels
from tests.halves import numbers as _numbers
from tests.halves import operands as _operands
from tests.halves import wide as _wide
from tests.halves import window as _window

# M, N, K: less than a tile; tiles that are not full; a short first step; the tiles of few columns and of few rows;
# slices, and so many that they are added up in two steps; no sum.
PRODUCTS = (
    *((8, 8, 8), (136, 136, 40), (264, 72, 104), (300, 64, 32), (72, 264, 64), (64, 136, 72), (129, 80, 1032)),
    *((72, 64, 4416), (40, 72, 0)),
)


@pytest.fixture(autouse=True)
def _with_bfloat16() -> None:
    pytest.importorskip("ml_dtypes")


# -- products -------------------------------------------------------------------------------------


def _plain(form: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.astype(np.float64) for x in (a, b))
    product: np.ndarray = (a.T if form[0] == "t" else a) @ (b.T if form[1] == "t" else b)
    return product


@pytest.mark.parametrize("form", ["nt", "nn", "tn"])
@pytest.mark.parametrize("kind", KINDS)
def test_products(kernels: str, kind: str, form: str) -> None:
    where = device(kernels)
    for m, n, k in PRODUCTS:
        if form == "tn":
            m -= m % 8
        a, b = _operands(kind, form, m, n, k)
        c, launched = _kernels(lambda a=a, b=b: gemm(where, *_on(where, a, b), form))  # type: ignore[misc]
        assert launched == [f"gemm_half_{form}"], (m, n, k)
        _check(kind, c, _plain(form, a, b))


def test_the_tile_follows_the_shape(kernels: str) -> None:
    where, found = device(kernels), []
    for m, n in ((136, 136), (260, 64), (64, 136), (72, 72), (8, 64)):
        with trace_launches() as launches:
            gemm(where, *_on(where, *_operands("bfloat16", "nn", m, n, 8)), "nn")
        (launch,) = launches
        found.append((launch.macros["ROWS"], launch.macros["COLUMNS"], launch.grid))
    assert found == [
        ("128", "128", (2, 2, 1)),
        ("256", "64", (1, 2, 1)),
        ("64", "128", (2, 1, 1)),
        ("128", "128", (1, 1, 1)),
        ("256", "64", (1, 1, 1)),
    ]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_layer(kernels: str, kind: str, relu: bool) -> None:
    where = device(kernels)
    for n, m, d in ((70, 40, 96), (33, 136, 304), (264, 64, 16)):
        x, weight, bias = _numbers(kind, n, d), _numbers(kind, m, d, seed=1), _numbers(kind, m, seed=2)
        y = gemm(where, *_on(where, x, weight), "nt", where.array(bias), relu)
        expected = _plain("nt", x, weight) + bias.astype(np.float64)
        _check(kind, y, np.maximum(expected, 0) if relu else expected)
        dy, more = _numbers(kind, n, m, seed=3), _numbers(kind, n, d, seed=4)
        gate = y if relu else None
        args = (where.array(dy), gate, *_on(where, x, weight), (True, True, True), where.array(more))
        found, launched = _kernels(lambda args=args: linear_backward(where, *args))  # type: ignore[misc]
        assert launched == ["bias_half_backward", "gemm_half_tn", "gemm_half_nn"]
        dz = dy.astype(np.float64) * (_wide(y) > 0 if relu else 1)
        wide = weight.astype(np.float64), more.astype(np.float64), x.astype(np.float64)
        for one, expected in zip(found, (dz @ wide[0] + wide[1], dz.T @ wide[2], dz.sum(0)), strict=True):
            _check(kind, one, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_infinity_and_nan_reach_what_they_belong_to(kernels: str, kind: str) -> None:
    where = device(kernels)
    a, b = _operands(kind, "nn", 72, 48, 40)
    a[3, 5], a[40, 9], a[8, 7] = np.nan, np.inf, 0
    b[9, 4], b[9, 5], b[7, 9] = 1, 0, -np.inf
    found, expected = _wide(gemm(where, *_on(where, a, b), "nn")), _plain("nn", a, b)
    assert np.isnan(expected).any()
    assert np.isinf(expected).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(found[np.isinf(expected)], expected[np.isinf(expected)])
    large = np.full((16, 16), 256, dtype=a.dtype)
    beyond = _wide(gemm(where, *_on(where, large, large), "nn"))
    assert np.isinf(beyond).all() if kind == "float16" else (beyond == 2**20).all()


# -- convolutions ---------------------------------------------------------------------------------

# n, h, w, c, k, r, s, stride, padding, dilation: rows that cut tiles; a filter element that a step straddles; few
# channels on either side; strides with pixels that nothing reaches; dilation; outputs of one column, and of one pixel.
CONVOLUTIONS = (
    (2, 9, 8, 16, 72, 3, 3, (1, 1), (1, 1), (1, 1)),
    (3, 7, 7, 72, 136, 3, 3, (1, 1), (1, 1), (1, 1)),
    (2, 11, 9, 40, 24, 3, 2, (2, 2), (1, 0), (1, 1)),
    (2, 10, 13, 8, 80, 5, 5, (2, 3), (2, 2), (1, 1)),
    (1, 13, 12, 24, 72, 3, 3, (1, 2), (2, 2), (3, 2)),
    (2, 9, 9, 80, 16, 1, 1, (3, 3), (0, 0), (1, 1)),
    (40, 4, 3, 16, 16, 4, 3, (1, 1), (0, 0), (1, 1)),
    (1, 40, 3, 8, 8, 3, 3, (1, 1), (1, 0), (1, 1)),
)


@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions(kernels: str, kind: str, shape: Any) -> None:
    where, cpu = device(kernels), device("cpu")
    n, h, w, c, k, r, s, *rest = shape
    window = _window(h, w, r, s, *rest)
    x, weight, bias = _numbers(kind, n, h, w, c), _numbers(kind, k, r, s, c, seed=1), _numbers(kind, k, seed=2)
    relu = k % 16 == 0
    given = _on(where, x, weight, bias)
    y, launched = _kernels(lambda: conv2d_forward(where, *given[:2], window, 1, given[2], relu))
    assert launched == ["conv2d_half_forward"]
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    _check(kind, y, conv2d_forward(cpu, *wide[:2], window, 1, wide[2], relu))
    dy, more = _numbers(kind, *y.shape, seed=3), _numbers(kind, *x.shape, seed=4)
    gate = y if relu else None
    args = (where.array(dy), gate, *given[:2], window, 1, (True, True, True), where.array(more))
    found, launched = _kernels(lambda: conv2d_backward(where, *args))
    assert launched == ["bias_half_backward", "conv2d_half_backward_weight", "conv2d_half_backward_data"]
    gated = None if gate is None else _wide(gate)
    expected = conv2d_backward(
        cpu, dy.astype(np.float64), gated, *wide[:2], window, 1, (True, True, True), more.astype(np.float64)
    )
    for one, other in zip(found, expected, strict=True):
        _check(kind, one, other)


def test_a_convolution_in_slices(kernels: str) -> None:
    """All three reductions are split, into a short first step and slices that are not equally long."""
    where, cpu = device(kernels), device("cpu")
    window = _window(6, 6, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = _numbers("bfloat16", 17, 6, 6, 72), _numbers("bfloat16", 72, 3, 3, 72, seed=1)
    dy = _numbers("bfloat16", 17, 6, 6, 72, seed=2)
    args = _on(where, dy, None, x, weight)
    with trace_launches() as launches:
        y = conv2d_forward(where, *args[2:], window, 1, None, False)
        found = conv2d_backward(where, *args, window, 1, (True, True, False))
    assert [launch.grid[2] for launch in launches] == [2, 2, 2]
    wide = [None if a is None else a.astype(np.float64) for a in (dy, None, x, weight)]
    _check("bfloat16", y, conv2d_forward(cpu, *wide[2:], window, 1, None, False))
    for one, other in zip(found[:2], conv2d_backward(cpu, *wide, window, 1, (True, True, False))[:2], strict=True):
        _check("bfloat16", one, other)


def test_a_convolution_of_one_pixel_is_a_product(kernels: str) -> None:
    where, cpu = device(kernels), device("cpu")
    window = _window(5, 6, 1, 1, (1, 1), (0, 0), (1, 1))
    x, weight = _numbers("bfloat16", 3, 5, 6, 24), _numbers("bfloat16", 40, 1, 1, 24, seed=1)
    more = _numbers("bfloat16", *x.shape, seed=2)
    given = _on(where, x, weight)
    y, forward = _kernels(lambda: conv2d_forward(where, *given, window, 1, None, True))
    found, back = _kernels(
        lambda: conv2d_backward(where, y, y, *given, window, 1, (True, True, True), where.array(more))
    )
    assert (forward, back) == (["gemm_half_nt"], ["bias_half_backward", "gemm_half_tn", "gemm_half_nn"])
    wide = [a.astype(np.float64) for a in (x, weight)]
    _check("bfloat16", y, conv2d_forward(cpu, *wide, window, 1, None, True))
    expected = conv2d_backward(cpu, _wide(y), _wide(y), *wide, window, 1, (True, True, True), more.astype(np.float64))
    for one, other in zip(found, expected, strict=True):
        _check("bfloat16", one, other)


@pytest.mark.parametrize(("stride", "pixels", "phases"), [((2, 2), 144, 4), ((1, 3), 192, 3)])
def test_slices_are_chosen_for_all_tiles_of_all_phases(
    kernels: str, monkeypatch: pytest.MonkeyPatch, stride: tuple[int, int], pixels: int, phases: int
) -> None:
    where, asked, known = device(kernels), list[Any](), list[Any]()

    def choose_slices(*given: int) -> int:
        asked.append(given)
        return 1

    def best(where: Device, source: Any, kernel: str, facts: Any, rule: Any, others: Any, run: Any) -> Any:
        assert source is half.CONVOLUTIONS
        known.append((kernel, facts))
        return run(rule)

    monkeypatch.setattr(half, "choose_slices", choose_slices)
    monkeypatch.setattr(half, "best", best)
    window = _window(24, 24, 3, 3, stride, (1, 1), (1, 1))
    x, weight = _numbers("bfloat16", 1, 24, 24, 16), _numbers("bfloat16", 72, 3, 3, 16, seed=1)
    y = conv2d_forward(where, *_on(where, x, weight), window, 1, None, False)
    conv2d_backward(where, y, None, *_on(where, x, weight), window, 1, (True, True, False))
    # A phase has as many pixels, and at most 3 elements of the filter's 9.
    sizes = {"forward": (pixels, 72, 144), "backward_weight": (72, 144, pixels), "backward_data": (pixels, 16, 3 * 72)}
    assert asked == [(2, 144, 2), (2, pixels, 2), (phases, 3 * 72, 2)]
    shape = conv2d.facts(1, 16, 72, window, 1, x.dtype)
    assert known == [(f"conv2d_half_{name}", (*size, "BFLOAT16", *shape)) for name, size in sizes.items()]


def test_tiles_that_are_more_than_half_empty_are_no_way() -> None:
    def tiles(m: int, n: int, among: Any = half._TILES, phases: int = 0) -> list[tuple[int, ...]]:
        return [way[:2] for way in half._ways((m, n, 64), among, phases)]

    square, narrow, low = (128, 128), (256, 64), (64, 128)
    assert tiles(129, 72) == [square, narrow, low]
    assert tiles(128, 72) == [square, low]
    assert tiles(64, 72) == [low]
    assert tiles(8, 8) == [narrow]  # the rule's
    assert tiles(72, 72, half._OF_PIXELS) == [square]
    assert tiles(half._TALLEST * 64 + 1, 72) == [square, narrow]
    few, fewer = (1, 2, 4), (1, 2)  # 264 tiles fill a card
    for m, phases, slices in ((256, 0, few), (256, 1, few), (256, 66, fewer), (256 * 66, 0, fewer)):
        found = half._ways((m, 256, 1040), half._OF_PIXELS, phases)
        assert found == [(*tile, s) for tile in (square, narrow) for s in slices]


# -- masks and sums -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_column_sums(kernels: str, kind: str) -> None:
    where = device(kernels)
    for rows, columns in ((1, 1), (700, 3), (100, 72), (33, 264), (0, 8)):
        dy, y = _numbers(kind, rows, columns), _numbers(kind, rows, columns, seed=1)
        y[:, ::3] = 0
        for gate in (None, y):
            (dz, sums), launched = _kernels(
                lambda dy=dy, gate=gate: bias_backward(where, *_on(where, dy, gate), True)  # type: ignore[misc]
            )
            assert launched == ["bias_half_backward"]
            expected = dy if gate is None else np.where(gate <= 0, np.zeros_like(dy), dy)
            np.testing.assert_array_equal(host(dz).view(np.uint16), expected.view(np.uint16))
            _check(kind, sums, expected.astype(np.float64).sum(0))


@pytest.mark.parametrize("odd", ["dy", "y"])
def test_a_mask_of_arrays_that_begin_between_vectors(kernels: str, odd: str) -> None:
    where = device(kernels)
    arrays = {name: _numbers("bfloat16", 9, 72, seed=seed) for seed, name in enumerate(("dy", "y"))}
    given = {name: where.array(array) for name, array in arrays.items()}
    given[odd] = where.array(np.concatenate([arrays[odd][0, :1], arrays[odd].reshape(-1)]))[1:].reshape(9, 72)
    with trace_launches() as launches:
        dz, _ = bias_backward(where, given["dy"], given["y"], False)
    assert [launch.macros["VEC"] for launch in launches] == ["1"]
    np.testing.assert_array_equal(_wide(dz), np.where(arrays["y"] > 0, arrays["dy"], 0).astype(np.float64))


def test_how_many_blocks_masks_and_column_sums_have(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device(kernels)

    def grid(rows: int, columns: int, wants_bias: bool = True) -> tuple[tuple[int, ...], str]:
        dy = _numbers("bfloat16", rows, columns)
        with trace_launches() as launches:
            _, sums = bias_backward(where, *_on(where, dy, dy), wants_bias)
        if wants_bias:
            _check("bfloat16", sums, np.maximum(dy.astype(np.float64), 0).sum(0))
        return launches[0].grid, launches[0].macros["VEC"]

    assert grid(700, 72) == ((2, 22, 1), "2")
    assert grid(64, 256) == ((1, 2, 1), "8")
    assert grid(64, 248) == ((4, 2, 1), "2")
    assert grid(64, 264) == ((2, 2, 1), "8")
    assert grid(65, 3) == ((1, 3, 1), "1")
    monkeypatch.setattr(half, "_MOST_CHUNKS", 7)
    assert grid(700, 72) == ((2, 3, 1), "2")
    assert grid(700, 520) == ((3, 2, 1), "8")
    assert grid(64, 2056) == ((9, 1, 1), "8")
    monkeypatch.setattr(half, "COUNT", 2)  # a ticket for each block across
    assert grid(700, 72) == ((2, 3, 1), "2")
    assert grid(700, 520) == ((3, 1, 1), "8")
    assert grid(700, 520, wants_bias=False) == ((3, 2, 1), "8")


def test_a_mask_alone_and_nothing_at_all(kernels: str) -> None:
    where = device(kernels)
    dy, y = _numbers("bfloat16", 70, 40), _numbers("bfloat16", 70, 40, seed=1)
    given = _on(where, dy, y)
    (dz, sums), launched = _kernels(lambda: bias_backward(where, *given, False))
    assert launched == ["bias_half_backward"]
    assert sums is None
    np.testing.assert_array_equal(_wide(dz), np.where(y > 0, dy, 0).astype(np.float64))
    (dz, sums), launched = _kernels(lambda: bias_backward(where, given[0], None, False))
    assert launched == []
    assert dz is given[0]
    assert sums is None
    assert half.bias_backward(where, given[0], where.array(y.astype(np.float16)), True) is None
    assert half.bias_backward(where, where.array(dy.astype(np.float32)), None, True) is None


def test_plans_give_the_same_bits(kernels: str) -> None:
    where = device(kernels)
    a, b = _on(where, *_operands("bfloat16", "nt", 72, 56, 1040))
    found = {host(gemm(where, a, b, "nt")).tobytes() for _ in range(3)}
    assert len(found) == 1


# -- on the emulator ------------------------------------------------------------------------------


@pytest.mark.emulator
def test_the_same_bits_in_every_order_of_blocks() -> None:
    where = device("emulator")
    window = _window(6, 6, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = _numbers("bfloat16", 20, 6, 6, 72), _numbers("bfloat16", 72, 3, 3, 72, seed=1)
    dy, y = _numbers("bfloat16", 20, 6, 6, 72, seed=2), _numbers("bfloat16", 20, 6, 6, 72, seed=3)
    found = []
    for order in ("forward", "reverse", "shuffled"):
        with in_order("emulator", order, seed=3):
            arrays = [conv2d_forward(where, x, weight, window, 1, None, False)]
            arrays += conv2d_backward(where, dy, y, x, weight, window, 1, (True, True, True))
            arrays += [gemm(where, *_operands("float16", form, 72, 64, 4416), form) for form in ("nt", "nn", "tn")]
            found.append(b"".join(host(array).tobytes() for array in arrays))
    assert found[0] == found[1] == found[2]


@pytest.mark.emulator
def test_no_bank_conflicts_and_whole_sectors() -> None:
    where = kernel_counts.device()
    window = _window(8, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    with counting() as counts:
        for form in ("nt", "nn", "tn"):
            gemm(where, *_operands("bfloat16", form, 128, 128, 96), form)
        for c, k in ((128, 128), (64, 64)):
            x, weight = _numbers("bfloat16", 4, 8, 8, c), _numbers("bfloat16", k, 3, 3, c)
            y = conv2d_forward(where, x, weight, window, 1, None, True)
            conv2d_backward(where, y, y, x, weight, window, 1, (True, True, True))
    assert len(counts.kernels) == 7
    for kernel, count in counts.kernels.items():
        assert count.bank_conflicts == 0, kernel
        assert count.sector_efficiency is not None
        assert count.sector_efficiency >= 0.95, (kernel, count.sector_efficiency)
