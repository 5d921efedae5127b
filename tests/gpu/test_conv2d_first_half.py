"""First layers of 16-bit numbers by tensor cores: odd sizes, borders, every way to lay x out; one rounding.

Forward is ``conv2d_first_half.cu``, the gradient of the weight ``conv2d_first_half_weight.cu``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn._device import device
from gpunn._window import Window
from gpunn.emulator import counting
from gpunn.gpu import conv2d_first_half as first
from gpunn.gpu import half
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from tests.devices import host, in_order
from tests.emulator import kernel_counts
from tests.halves import KINDS
from tests.halves import check as _check
from tests.halves import numbers as _numbers
from tests.halves import wide as _wide
from tests.halves import window as _window

# n, h, w, c, k, r, s, stride, padding, dilation: the customary first layer, whose rows are vectors, and begin at an odd
# number; rows that are no vectors; odd numbers from an output to the next, which need x twice; few and many filters;
# filters beyond the last; a filter without a number of its own in a slot, and one with two; no whole slot; one
# pixel; tiles side by side; one row of outputs; many outputs of few products, high and wide.
CASES = (
    (5, 24, 24, 3, 64, 7, 7, (2, 2), (3, 3), (1, 1)),
    (1, 23, 41, 3, 64, 7, 7, (2, 2), (3, 3), (1, 1)),
    (7, 9, 11, 3, 8, 3, 3, (1, 1), (1, 1), (1, 1)),
    (4, 13, 16, 1, 96, 5, 5, (1, 1), (2, 2), (1, 1)),
    (1, 30, 32, 3, 64, 11, 11, (4, 4), (2, 2), (1, 1)),
    (1, 17, 16, 4, 72, 3, 4, (3, 2), (1, 2), (2, 1)),
    (1, 17, 19, 2, 24, 2, 2, (1, 1), (0, 0), (1, 1)),
    (2, 10, 24, 1, 32, 3, 3, (2, 2), (1, 1), (1, 1)),
    (1, 9, 24, 3, 16, 4, 4, (2, 2), (1, 1), (1, 1)),
    (3, 7, 5, 1, 8, 3, 1, (1, 3), (0, 0), (1, 1)),
    (1, 5, 5, 3, 128, 5, 5, (1, 1), (0, 0), (1, 1)),
    (1, 7, 160, 4, 64, 7, 7, (2, 2), (3, 3), (1, 1)),
    (2, 3, 66, 3, 16, 3, 3, (1, 1), (0, 0), (1, 1)),
    (1, 15, 132, 1, 8, 3, 3, (1, 1), (0, 0), (1, 1)),
    (1, 7, 130, 1, 8, 3, 3, (1, 1), (0, 0), (1, 1)),
)


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small cases, as if a card had one SM: so blocks do several tiles."""
    pytest.importorskip("ml_dtypes")
    monkeypatch.setattr(first, "_SMS", 1)
    caches = first.plan, first.weight_plan
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def _expected(x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool) -> np.ndarray:
    wide = [None if a is None else a.astype(np.float64) for a in (x, weight, bias)]
    found: np.ndarray = conv2d_forward(device("cpu"), wide[0], wide[1], window, 1, wide[2], relu)
    return found


@pytest.mark.parametrize("shape", CASES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_forward(kernels: str, kind: str, shape: Any) -> None:
    where = device(kernels)
    n, h, w, c, k, r, s, *rest = shape
    window, relu = _window(h, w, r, s, *rest), k % 16 == 0
    x, weight = _numbers(kind, n, h, w, c), _numbers(kind, k, r, s, c, seed=1)
    for bias in (_numbers(kind, k, seed=2), None):
        given = [None if a is None else where.array(a) for a in (x, weight, bias)]
        with trace_launches() as launches:
            y = conv2d_forward(where, given[0], given[1], window, 1, given[2], relu)
        assert [launch.kernel for launch in launches] == ["conv2d_first_half_forward"]
        _check(kind, y, _expected(x, weight, window, bias, relu))


def _gradients(x: np.ndarray, weight: np.ndarray, window: Window, dy: np.ndarray, y: np.ndarray | None) -> list[Any]:
    wide = [None if a is None else a.astype(np.float64) for a in (dy, y, x, weight)]
    return list(conv2d_backward(device("cpu"), *wide, window, 1, (False, True, True)))


@pytest.mark.parametrize("shape", CASES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kernels: str, kind: str, shape: Any) -> None:
    where = device(kernels)
    n, h, w, c, k, r, s, *rest = shape
    window = _window(h, w, r, s, *rest)
    x, weight = _numbers(kind, n, h, w, c), _numbers(kind, k, r, s, c, seed=1)
    dy, y = (_numbers(kind, n, window.P, window.Q, k, seed=seed) for seed in (2, 3))
    gate = np.maximum(y, y.dtype.type(0)) if k % 16 == 0 else None
    given = [None if a is None else where.array(a) for a in (dy, gate, x, weight)]
    with trace_launches() as launches:
        dx, *found = conv2d_backward(where, *given, window, 1, (False, True, True))
    assert [launch.kernel for launch in launches] == ["bias_half_backward", "conv2d_first_half_backward_weight"]
    assert dx is None
    for one, expected in zip(found, _gradients(x, weight, window, dy, gate)[1:], strict=True):
        _check(kind, one, expected)


def test_a_weight_gradient_of_many_blocks(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the last of them adds up at once."""
    monkeypatch.setattr(first, "_SMS", 132)
    where, window = device(kernels), _window(8, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight, dy = (_numbers("bfloat16", *shape) for shape in ((35, 8, 8, 3), (40, 3, 3, 3), (35, 8, 8, 40)))
    with trace_launches() as launches:
        given = [where.array(a) for a in (x, weight)]
        _, dweight, _ = conv2d_backward(where, where.array(dy), None, *given, window, 1, (False, True, False))
    (launch,) = launches
    assert launch.grid[0] > 33
    assert launch.grid[1] == 2 or launch.macros["TILE"] == "64"
    _check("bfloat16", dweight, _gradients(x, weight, window, dy, None)[1])


def test_where_dy_has_no_vectors_copies_are_made(kernels: str) -> None:
    where, window = device(kernels), _window(9, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight, dy = (_numbers("bfloat16", *shape) for shape in ((2, 9, 8, 3), (16, 3, 3, 3), (2, 9, 8, 16)))
    odd = where.array(np.concatenate([np.zeros(1, x.dtype), dy.reshape(-1)]))[1:].reshape(dy.shape)
    expected = _gradients(x, weight, window, dy, None)[1]
    given = [where.array(a) for a in (x, weight)]
    with trace_launches() as launches:
        dx, dweight, _ = conv2d_backward(where, odd, None, *given, window, 1, (False, True, False))
    assert "conv2d_first_half_backward_weight" not in [launch.kernel for launch in launches]
    assert dx is None
    _check("bfloat16", dweight, expected)


def test_the_cases_have_every_kind_of_weight_plan() -> None:
    plans = []
    for n, h, w, c, k, r, s, *rest in CASES:
        window = _window(h, w, r, s, *rest)
        found = first.weight_plan(n, (k, r, s, c), window, w * c % 8 == 0)
        assert found is not None
        steps = first.slots_of((k, r, s, c), window, w * c % 8 == 0).steps
        plans.append((found, steps, k, first._tiles(n, window, found.cut)))
    assert {p.parts for p, *_ in plans} == {1, 2, 3}
    assert {p.filters for p, *_ in plans} == {32, 64}
    assert any(p.across > 1 and p.deep > 1 for p, *_ in plans)
    assert any(p.across * p.parts > steps for p, steps, _, _ in plans)
    assert any(p.filters < k for p, _, k, _ in plans)
    assert any(1 < p.each < tiles for p, _, _, tiles in plans)
    assert {(p.cut.across, p.cut.down) for p, *_ in plans} >= {(1, 8), (8, 1), *first._WEIGHT_ITEMS[2]}
    assert any(p.cut.items % p.deep for p, *_ in plans)


def test_the_cases_have_every_kind_of_plan() -> None:
    plans, slots = [], []
    for n, h, w, c, k, r, s, *rest in CASES:
        window, vectors = _window(h, w, r, s, *rest), w * c % 8 == 0
        found = first.plan(n, (k, r, s, c), window, vectors)
        assert found is not None
        plans.append((found, k, window))
        slots.append(first.slots_of((k, r, s, c), window, vectors))
    assert {p.columns for p, _, _ in plans} == {32, 64}
    assert any(p.each > 1 for p, _, _ in plans)
    assert any(p.groups > 1 for p, _, _ in plans)
    assert any(p.groups * p.columns < k for p, k, _ in plans)
    assert any(p.cut.high < window.P and window.P % p.cut.high for p, _, window in plans)
    assert any(p.cut.wide < window.Q for p, _, window in plans)
    assert {(p.cut.across, p.cut.down) for p, _, _ in plans} == set(first._ITEMS)
    assert {(s.vec, s.copies) for s in slots} == {(8, 1), (1, 1), (1, 2)}
    assert {(s.front, s.single) for s in slots} == {(0, 0), (0, 1), (1, 1), (1, 2)}
    assert any(s.plain == 0 for s in slots)
    assert any(s.plain == s.steps for s in slots)


def test_no_more_blocks_than_tiles_of_outputs_and_filters(kernels: str) -> None:
    where, window = device(kernels), _window(9, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    for k, across in ((16, 1), (64, 1), (192, 3)):  # 192 filters are three tiles of 64, or one block's
        x, weight = (where.array(_numbers("bfloat16", *shape)) for shape in ((2, 9, 8, 3), (k, 3, 3, 3)))
        found = first.plan(2, (k, 3, 3, 3), window, True)
        assert found is not None
        with trace_launches() as launches:
            conv2d_forward(where, x, weight, window, 1, None, False)
        tiles = first._tiles(2, window, found.cut)
        assert [launch.grid for launch in launches] == [(-(-tiles // found.each), -(-across // found.groups), 1)]


def test_x_at_an_odd_address(kernels: str) -> None:
    where = device(kernels)
    window = _window(12, 16, 7, 7, (2, 2), (3, 3), (1, 1))
    x, weight = _numbers("bfloat16", 2, 12, 16, 3), _numbers("bfloat16", 16, 7, 7, 3, seed=1)
    odd = where.array(np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)]))[1:].reshape(x.shape)
    y = conv2d_forward(where, odd, where.array(weight), window, 1, None, False)
    _check("bfloat16", y, _expected(x, weight, window, None, False))


@pytest.mark.parametrize("shape", [CASES[0], CASES[2], CASES[3], CASES[8]], ids=str)
def test_infinity_and_nan_reach_what_they_belong_to(kernels: str, shape: Any) -> None:
    """Numbers beside a filter's are masked: zero times infinity would be NaN."""
    where = device(kernels)
    n, h, w, c, k, r, s, *rest = shape
    window = _window(h, w, r, s, *rest)
    x, weight = _numbers("bfloat16", n, h, w, c), np.abs(_numbers("bfloat16", k, r, s, c, seed=1))
    x[0, 4, 5, c - 1], x[0, 2, 7, 0] = np.nan, np.inf
    expected = _expected(x, weight, window, None, False)
    assert np.isnan(expected).any()
    assert np.isinf(expected).any()
    found = _wide(conv2d_forward(where, where.array(x), where.array(weight), window, 1, None, False))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


def test_what_is_left_to_others(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device(kernels)

    def launched(c: int, k: int, dilation: tuple[int, int] = (1, 1), groups: int = 1) -> bool:
        window = _window(9, 9, 3, 3, (1, 1), (1, 1), dilation)
        given = [where.array(_numbers("bfloat16", *shape)) for shape in ((1, 9, 9, c), (k, 3, 3, c // groups))]
        with trace_launches() as launches:
            y = conv2d_forward(where, *given, window, groups, None, False)
        assert y.dtype == given[0].dtype
        return "conv2d_first_half_forward" in [launch.kernel for launch in launches]

    assert launched(3, 16)
    assert launched(3, 16, dilation=(2, 1))
    assert not launched(3, 16, dilation=(1, 2))
    assert not launched(5, 16)
    assert not launched(3, 12)
    assert not launched(4, 16, groups=2)
    for module in (first, half):
        monkeypatch.setattr(module, "has_tensor_cores", lambda device: False)
    assert not launched(3, 16)


def test_a_filter_that_no_block_has_room_for_is_left_to_others() -> None:
    window = _window(224, 224, 16, 16, (16, 16), (0, 0), (1, 1))
    assert first.plan(1, (64, 16, 16, 4), window, True) is None


def test_captured_equals_eager_to_the_bit(kernels: str) -> None:
    def trained(captured: bool) -> list[np.ndarray]:
        gpunn.manual_seed(1)
        layer = gpunn.nn.Conv2d(3, 16, 3, padding=1).to(kernels).to(gpunn.bfloat16)
        optimizer = gpunn.optim.SGD(layer.parameters(), lr=0.01)

        def step(x: gpunn.Tensor) -> gpunn.Tensor:
            optimizer.zero_grad()
            loss = (layer(x).float() ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        for seed in range(3):
            numbers = np.random.default_rng(seed).standard_normal((2, 3, 8, 9)).astype(np.float32)
            run(gpunn.tensor(numbers, device=kernels).bfloat16())
        return [p.detach().float().numpy() for p in layer.parameters()]

    for found, expected in zip(trained(True), trained(False), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.emulator
@pytest.mark.parametrize("sms", [132, 1])  # a tile a block, and several
@pytest.mark.parametrize("shape", [CASES[0], CASES[3]], ids=str)
def test_the_same_bits_in_every_order_of_blocks(shape: Any, sms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device("emulator")
    n, h, w, c, k, r, s, *rest = shape
    x, weight = _numbers("bfloat16", n, h, w, c), _numbers("bfloat16", k, r, s, c, seed=1)
    window = _window(h, w, r, s, *rest)
    dy = _numbers("bfloat16", n, window.P, window.Q, k, seed=2)
    monkeypatch.setattr(first, "_SMS", sms)
    found = []
    for order in ("forward", "reverse", "shuffled"):
        with in_order("emulator", order, seed=3), trace_launches() as launches:
            arrays = [conv2d_forward(where, x, weight, window, 1, None, False)]
            arrays += conv2d_backward(where, dy, None, x, weight, window, 1, (False, True, False))[1:2]
        assert launches[-1].grid[0] > 2 or sms == 1
        found.append(b"".join(host(array).tobytes() for array in arrays))
    assert found[0] == found[1] == found[2]


@pytest.mark.emulator
def test_whole_sectors_and_few_bank_conflicts() -> None:
    """Of 8 outputs of 6 numbers, and four slots of two filter rows, two meet in a bank: one group of slots of four."""
    where = kernel_counts.device()
    x, weight = _numbers("bfloat16", 1, 32, 32, 3), _numbers("bfloat16", 64, 7, 7, 3)
    window = _window(32, 32, 7, 7, (2, 2), (3, 3), (1, 1))
    dy = _numbers("bfloat16", 1, 16, 16, 64)
    with counting() as counts:
        conv2d_forward(where, x, weight, window, 1, None, True)
        conv2d_backward(where, dy, None, x, weight, window, 1, (False, True, False))
    assert len(counts.kernels) == 2
    for kernel, share in (("conv2d_first_half_forward", 1.15), ("conv2d_first_half_backward_weight", 1.4)):
        lines = counts.kernels[kernel].lines
        loads = [one for one in lines if one.kind == "shared load"]
        assert sum(one.asked for one in loads) <= share * sum(one.least for one in loads), kernel
        for array in ("x", "y", "dz"):
            moved = [one for one in lines if one.array == array]
            assert sum(one.asked for one in moved) <= 1.05 * sum(one.least for one in moved), (kernel, array)
