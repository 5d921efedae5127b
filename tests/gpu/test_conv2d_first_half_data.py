"""The gradient of a first layer's images in 16 bits (``kernels/conv2d_first_half_data.cu``): one rounding of a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn._half import half_named
from gpunn._window import Window
from gpunn.emulator import counting
from gpunn.gpu import conv2d_first_half_data as first
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.conv2d import conv2d_backward
from tests.devices import host, in_order

KINDS = ["float16", "bfloat16"]
_NEAR = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # half a place of the last bit
_FLOAT = 3e-5  # float32's own errors, of sums of a few hundred terms

# n, h, w, c, k, r, s, stride, padding: the customary first layer; one channel; a transposed convolution of 4 x 4
# filters; 12 numbers at a pixel, in two groups of columns; odd numbers, that are no words; strides that are not alike,
# and pixels that no window has; seven taps; many phases of rows; images of one pixel, and of many tiles; half of a step
# of K; images that a lead makes whole tiles of.
CASES = (
    (2, 37, 46, 3, 64, 7, 7, (2, 2), (3, 3)),
    (1, 37, 45, 1, 8, 5, 5, (1, 1), (2, 2)),
    (2, 16, 16, 3, 32, 4, 4, (2, 2), (1, 1)),
    (1, 33, 32, 3, 16, 11, 11, (4, 4), (2, 2)),
    (3, 9, 11, 3, 24, 3, 3, (1, 1), (1, 1)),
    (1, 25, 29, 2, 16, 3, 5, (4, 6), (1, 2)),
    (1, 21, 23, 3, 8, 7, 7, (1, 1), (3, 3)),
    (2, 19, 18, 4, 16, 2, 2, (3, 3), (0, 0)),
    (5, 1, 1, 3, 8, 3, 3, (1, 1), (1, 1)),
    (1, 70, 150, 1, 8, 3, 3, (2, 1), (1, 1)),
    (2, 12, 13, 4, 40, 3, 2, (2, 2), (0, 1)),
    (1, 9, 64, 1, 8, 7, 7, (2, 2), (3, 3)),
)


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small cases, as if a card had one SM: so blocks do several tiles."""
    pytest.importorskip("ml_dtypes")
    monkeypatch.setattr(first, "_SMS", 1)


def _cases() -> list[tuple[Window, tuple[int, ...], tuple[int, ...]]]:
    return [
        (Window(h, w, r, s, stride, padding, (1, 1)), (n, h, w, c), (k, r, s, c))
        for n, h, w, c, k, r, s, stride, padding in CASES
    ]


def _arrays(kind: str, window: Window, x: tuple[int, ...], weight: tuple[int, ...]) -> list[np.ndarray]:
    """dy, weight and more."""
    rng, dtype = np.random.default_rng(0), half_named("test", kind)
    sizes = (x[0], window.P, window.Q, weight[0]), weight, x
    return [rng.standard_normal(size).astype(dtype) for size in sizes]


def _run(kernels: str, window: Window, dy: np.ndarray, weight: np.ndarray, more: Any, x: tuple[int, ...]) -> Any:
    where = device(kernels)
    image = where.array(np.zeros(x, dy.dtype))
    given = [None if a is None else where.array(a) for a in (dy, weight, more)]
    with trace_launches() as launches:
        dx, *_ = conv2d_backward(where, given[0], None, image, given[1], window, 1, (True, False, False), given[2])
    assert [launch.kernel for launch in launches] == ["conv2d_first_half_backward_data"]
    assert dx.dtype == dy.dtype
    return host(dx).astype(np.float64)


def _expected(window: Window, dy: np.ndarray, weight: np.ndarray, more: Any, x: tuple[int, ...]) -> np.ndarray:
    wide = [None if a is None else a.astype(np.float64) for a in (dy, weight, more)]
    needs = (True, False, False)
    found: np.ndarray = conv2d_backward.plain(np, wide[0], None, np.zeros(x), wide[1], window, 1, needs, wide[2])[0]
    return found


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case[1]} {case[2]} {case[0].stride}")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("added", [False, True])
def test_the_gradient(kernels: str, kind: str, case: Any, added: bool) -> None:
    window, x, _ = case
    dy, weight, more = _arrays(kind, *case)
    found = _run(kernels, window, dy, weight, more if added else None, x)
    expected = _expected(window, dy, weight, more if added else None, x)
    error = np.abs(found - expected) - _NEAR[kind] * np.abs(expected)
    assert error.max() <= _FLOAT * max(1.0, float(np.abs(expected).max()))


def test_an_infinity_is_met_by_its_windows_alone(kernels: str) -> None:
    """Pixels beside them meet it with zeros beside the filter, which would make NaN."""
    for number in (0, 2, 4):
        window, x, weight_shape = _cases()[number]
        dy, weight, _ = _arrays("float16", window, x, weight_shape)
        dy[0, 1, 2, 3] = np.inf
        found, expected = _run(kernels, window, dy, weight, None, x), _expected(window, dy, weight, None, x)
        assert np.isinf(expected).any()
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_all_gradients_at_once(kernels: str, kind: str) -> None:
    """With the weight's, of which it takes the dz."""
    where, (window, x, weight_shape) = device(kernels), _cases()[0]
    dy, weight, image = _arrays(kind, window, x, weight_shape)
    y = np.maximum(dy[::-1], dy.dtype.type(0))
    given = [where.array(a) for a in (dy, y, image, weight)]
    with trace_launches() as launches:
        found = conv2d_backward(where, *given, window, 1, (True, True, True))
    kernels_of = ["bias_half_backward", "conv2d_first_half_backward_data", "conv2d_first_half_backward_weight"]
    assert [launch.kernel for launch in launches] == kernels_of
    wide = [a.astype(np.float64) for a in (dy, y, image, weight)]
    for one, expected in zip(found, conv2d_backward.plain(np, *wide, window, 1, (True, True, True)), strict=True):
        error = np.abs(host(one).astype(np.float64) - expected) - _NEAR[kind] * np.abs(expected)
        assert error.max() <= _FLOAT * max(1.0, float(np.abs(expected).max()))


@pytest.mark.emulator
def test_bank_conflicts_and_sectors() -> None:
    window, x, weight_shape = Window(32, 32, 7, 7, (2, 2), (3, 3), (1, 1)), (1, 32, 32, 3), (64, 7, 7, 3)
    dy, weight, _ = _arrays("bfloat16", window, x, weight_shape)
    with counting() as counts:
        _run("emulator", window, dy, weight, None, x)
    lines = counts.kernels["conv2d_first_half_backward_data"].lines
    # What is read on its way out is little.
    loads = [one for one in lines if one.kind == "shared load"]
    assert sum(one.asked for one in loads) <= 1.1 * sum(one.least for one in loads)
    for array in ("dz", "dx"):
        moved = [one for one in lines if one.array == array]
        assert moved
        assert sum(one.asked for one in moved) <= 1.05 * sum(one.least for one in moved), array


def test_what_is_not_taken(kernels: str) -> None:
    where = device(kernels)
    window = Window(9, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    dy, weight, more = _arrays("bfloat16", window, (2, 9, 8, 3), (16, 3, 3, 3))
    given = [where.array(a) for a in (dy, weight, more)]
    assert first.takes(where, given[0], given[1], more.shape, window, 1, given[2])
    assert first.takes(where, given[0], given[1], more.shape, window, 1, None)
    assert not first.takes(where, given[0], given[1], more.shape, window, 3, None)
    assert not first.takes(where, given[0], given[1], more.shape, window, 1, where.array(more.astype(np.float32)))
    assert not first.takes(where, given[0][..., :12], given[1][:12], more.shape, window, 1, None)  # no vectors of 8
    spread = Window(9, 8, 3, 3, (1, 1), (2, 2), (2, 2))
    assert not first.takes(where, given[0], given[1], more.shape, spread, 1, None)
    assert (
        first.plan((768, 16, 16, 3), Window(224, 224, 16, 16, (16, 16), (0, 0), (1, 1))) is None
    )  # 48 numbers a pixel
    assert first.plan((512, 7, 7, 3), Window(64, 64, 7, 7, (1, 1), (3, 3), (1, 1))) is None


def test_the_cases_have_every_kind_of_plan() -> None:
    plans = [first.plan(weight, window) for window, _, weight in _cases()]
    found = [plan for plan in plans if plan is not None]
    assert len(found) == len(CASES)
    assert {plan.taps for plan in found} == {2, 3, 4, 5, 7}
    assert {plan.groups for plan in found} == {1, 2}
    assert {plan.of_row for plan in found} == {1, 2}
    assert any(plan.down.lead for plan in found)
    assert any(plan.right.lead for plan in found)
    assert any(plan.warps[0] > 1 for plan in found)
    assert any(plan.warps[1] > 1 for plan in found)


@pytest.mark.emulator
@pytest.mark.parametrize("sms", [132, 1])  # a tile a block, and several
@pytest.mark.parametrize("case", [_cases()[0], _cases()[10]], ids=lambda case: f"{case[1]} {case[2]}")
def test_the_same_bits_in_every_order_of_blocks(case: Any, sms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one step of K and of several."""
    window, x, _ = case
    dy, weight, more = _arrays("bfloat16", *case)
    monkeypatch.setattr(first, "_SMS", sms)
    found = []
    for order in ("forward", "reverse", "shuffled"):
        with in_order("emulator", order, seed=3):
            found.append(_run("emulator", window, dy, weight, more, x).tobytes())
    assert found[0] == found[1] == found[2]
