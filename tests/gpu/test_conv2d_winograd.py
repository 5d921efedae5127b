"""Convolutions by Winograd's algorithm: their errors, what is taken, how much memory, the same bits always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn
from gpunn._device import Device, device
from gpunn._window import Window
from gpunn.gpu import conv2d_winograd
from gpunn.gpu.choices import tuned_by
from gpunn.gpu.conv2d_winograd import WINOGRAD, choose_data, choose_forward, choose_weight, fits
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from tests.convolutions import error as _error
from tests.convolutions import numbers as _numbers
from tests.convolutions import on as _on
from tests.convolutions import wide as _wide
from tests.devices import host, in_order
from tests.traces import dry_launches
from tests.winograd import ByWinograd

STATED = 6e-6  # of the largest output: set_winograd_enabled
FORWARD = ["winograd_input", "gemm_batched_nt", "winograd_output"]  # of some images, after the filters
DATA = ["winograd_input", "gemm_batched_nn", "winograd_output"]
WEIGHT = ["winograd_gradient", "winograd_input", "gemm_batched_tn"]

# n, h, w, c, k, padding, padding behind, dilation: tiles that reach beyond the image or not; one tile; padding that no
# window needs, or so much that the gradient's own begins within dz; sides that differ; tiles in between one another, of
# which some have no pixel.
CASES = (
    (2, 12, 8, 8, 12, (1, 1), (1, 1), (1, 1)),
    (3, 9, 7, 8, 68, (1, 1), (1, 1), (1, 1)),
    (2, 3, 3, 8, 8, (0, 0), (0, 0), (1, 1)),
    (1, 6, 5, 8, 4, (0, 2), (0, 2), (1, 1)),
    (2, 5, 11, 12, 8, (3, 4), (3, 4), (1, 1)),
    (1, 1, 1, 8, 4, (1, 1), (1, 1), (1, 1)),
    (2, 7, 8, 12, 8, (2, 0), (0, 1), (1, 1)),
    (2, 13, 11, 8, 12, (2, 2), (2, 2), (2, 2)),
    (1, 9, 17, 8, 8, (1, 3), (3, 0), (3, 2)),
    (2, 5, 4, 8, 8, (6, 5), (6, 5), (6, 5)),
)


@pytest.fixture(autouse=True)
def _enabled_again() -> Iterator[None]:
    yield
    gpunn.set_winograd_enabled(True)
    gpunn.set_precision("fp32")


def _window(
    h: int,
    w: int,
    padding: tuple[int, int] = (1, 1),
    end: tuple[int, int] | None = None,
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    return Window(h, w, 3, 3, (1, 1), padding, dilation, False, padding if end is None else end)


def _kernels(call: Callable[[], Any], room: int = 128) -> tuple[Any, list[str]]:
    with tuned_by(ByWinograd(room)), trace_launches() as launches:
        found = call()
    return found, [launch.kernel for launch in launches]


def _check(where: Device, sizes: Any, window: Window, relu: bool, room: int = 128, turns: int = 1) -> float:
    """Forward and all gradients against float64, ``turns`` times some images; the largest of their errors.

    Each is relative to the largest element. sizes: n, h, w, c, k.
    """
    (n, h, w, c, k), cpu = sizes, device("cpu")
    x, weight, bias = _numbers(n, h, w, c), _numbers(k, 3, 3, c, seed=1), _numbers(k, seed=2)
    given, wide = _on(where, x, weight, bias), _wide(x, weight, bias)
    y, launched = _kernels(lambda: conv2d_forward(where, *given[:2], window, 1, given[2], relu), room)
    assert launched == ["winograd_filters", *(turns * FORWARD)]
    errors = [_error(y, conv2d_forward(cpu, *wide[:2], window, 1, wide[2], relu))]
    dy, more = _numbers(*y.shape, seed=3), _numbers(*x.shape, seed=4)
    gate = y if relu else None
    args = (where.array(dy), gate, *given[:2], window, 1, (True, True, True), where.array(more))
    found, launched = _kernels(lambda: conv2d_backward(where, *args), room)
    of_weight = [*(turns * WEIGHT), "winograd_weight_gradient"]
    assert launched == ["bias_backward", *of_weight, "winograd_filters", *(turns * DATA)]
    expected = conv2d_backward(cpu, *_wide(dy, gate), *wide[:2], window, 1, (True, True, True), _wide(more)[0])
    return max(errors + [_error(one, other) for one, other in zip(found, expected, strict=True)])


@pytest.mark.parametrize("shape", CASES, ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_all_three_are_within_the_stated_error(kernels: str, shape: Any, relu: bool) -> None:
    n, h, w, c, k, *rest = shape
    assert _check(device(kernels), (n, h, w, c, k), _window(h, w, *rest), relu) <= STATED


def test_many_channels_are_within_the_stated_error(kernels: str) -> None:
    assert _check(device(kernels), (2, 8, 8, 256, 128), _window(8, 8), False) <= STATED


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_drawn_convolutions_are_within_the_stated_error(data: st.DataObject) -> None:
    draw = data.draw
    n, h, w = draw(st.integers(1, 3)), draw(st.integers(1, 14)), draw(st.integers(1, 14))
    c, k = 4 * draw(st.integers(2, 6)), 4 * draw(st.integers(1, 18))
    padding = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    end, dilation = (draw(st.tuples(st.integers(least, 4), st.integers(least, 4))) for least in (0, 1))
    window = _window(h, w, padding, end, dilation)
    if window.P < 1 or window.Q < 1:
        return
    # An element is the sum of up to 9 * 72 products; the largest of few sums may be small.
    assert _check(device("emulator"), (n, h, w, c, k), window, draw(st.booleans())) <= 3 * STATED


def test_images_some_at_a_time(kernels: str) -> None:
    """One megabyte holds 36 numbers of each of 128 channels of 56 tiles: three images of 16, then two."""
    assert _check(device(kernels), (5, 13, 13, 64, 64), _window(13, 13), True, room=1, turns=2) <= STATED


def test_slices_of_a_weight_gradient_are_added_up(kernels: str) -> None:
    """14 images and 13, the tiles of each in two slices."""
    where, window = device(kernels), _window(32, 32)
    dz, x, weight = _on(where, _numbers(27, 32, 32, 4), _numbers(27, 32, 32, 4, seed=1), _numbers(4, 3, 3, 4))
    with trace_launches() as launches:
        found = conv2d_winograd.backward_weight(where, (WINOGRAD, 1), dz, x, weight, window)
    products = [launch for launch in launches if launch.kernel == "gemm_batched_tn"]
    assert [launch.grid[2] for launch in products] == [72, 72]
    assert [launch.args[5] for launch in products] == [448, 416]
    # Two channels a thread: of 2 x 2 channels of 896 tiles, then 832, by 128 threads; of four filters by 16.
    others = [launch.grid[0] for launch in launches if launch.kernel != "gemm_batched_tn"]
    assert others == [14, 14, 13, 13, 1]
    expected = conv2d_backward(device("cpu"), *_wide(dz, None, x, weight), window, 1, (False, True, False))[1]
    assert _error(found, expected) <= STATED


def test_inputs_that_are_not_numbers_reach_what_they_belong_to(kernels: str) -> None:
    """NaN stays NaN; infinities may become NaN, but never numbers; other tiles do not notice."""
    where, window = device(kernels), _window(12, 12)
    x, weight = _numbers(1, 12, 12, 8), _numbers(8, 3, 3, 8, seed=1)
    x[0, 2, 2, 5], x[0, 9, 9, 1] = np.nan, np.inf
    y, _ = _kernels(lambda: conv2d_forward(where, *_on(where, x, weight), window, 1, None, False))
    with np.errstate(invalid="ignore"):
        expected = conv2d_forward.plain(np, *_wide(x, weight), window, 1, None, False)
    finite = np.isfinite(host(y))
    assert not finite[~np.isfinite(expected)].any()
    assert finite[0, 4:8, :4].all()  # the tile below the first, whose windows do not reach (2, 2)
    assert finite[0, :8, 8:].all()


def test_large_convolutions_are_its_by_rule() -> None:
    """The case list's (benchmarks/NOTES.md) that are 3 x 3 with stride 1, all three products of each."""
    for n, side, channels in ((512, 32, 64), (256, 56, 64), (256, 14, 256), (256, 7, 512), (64, 56, 128)):
        given = n, channels, channels, _window(side, side)
        assert {choose(*given)[0] for choose in (choose_forward, choose_data, choose_weight)} == {WINOGRAD}, given


def test_how_the_rule_cuts_and_what_it_estimates() -> None:
    """Sizes of which each is different, more images than go at a time, and a rest."""
    found = [
        conv2d_winograd._plan(conv2d_winograd._forward_sizes(256, 64, 128, _window(56, 30)), 128),
        conv2d_winograd._plan(conv2d_winograd._data_sizes(100, 64, 96, _window(56, 30, (0, 1), dilation=(1, 2))), 32),
        conv2d_winograd._weight_plan(conv2d_winograd._forward_sizes(256, 256, 192, _window(14, 14)), 128),
        conv2d_winograd._weight_plan(conv2d_winograd._forward_sizes(100, 64, 96, _window(28, 30)), 32),
    ]
    cut = [(plan.images, plan.tile, plan.slices, round(plan.us, 1)) for plan in found]
    assert cut == [(43, 128, 1, 706.4), (13, 64, 1, 287.1), (128, 64, 2, 414.8), (25, 64, 5, 162.5)]


def test_images_beyond_what_ints_count_do_not_fit() -> None:
    """2^28 pixels: of 4 channels their numbers are below 2^31, of 8 they are not."""
    window = _window(2**14, 2**14)
    assert fits(np.float32, window, 1, 1, 4, 4)
    assert not fits(np.float32, window, 1, 1, 4, 8)
    assert not fits(np.float32, window, 1, 1, 8, 4)


def test_small_convolutions_stay_direct() -> None:
    """Those of ResNet-20 at a usual batch, or with few images: more launches would take longer."""
    for n, side, channels in ((128, 32, 16), (128, 16, 32), (128, 8, 64), (1, 32, 64)):
        given = n, channels, channels, _window(side, side)
        taken = {choose(*given)[0] for choose in (choose_forward, choose_data, choose_weight)}
        assert WINOGRAD not in taken, given


def _launched(c: int, k: int, window: Window, groups: int = 1, dtype: Any = np.float32) -> list[str]:
    """What a forward and a backward pass launch that belong to this algorithm, where it is taken wherever it may be."""
    where = device("emulator")
    x, weight = (
        a.astype(dtype) for a in (_numbers(1, window.H, window.W, c), _numbers(k, window.R, window.S, c // groups))
    )
    given = _on(where, x, weight)

    def both() -> None:
        y = conv2d_forward(where, *given, window, groups, None, False)
        conv2d_backward(where, y, None, *given, window, groups, (True, True, False))

    return [name for name in _kernels(both)[1] if "winograd" in name]


@pytest.mark.emulator
def test_what_is_left_to_direct_convolution() -> None:
    plain = _window(6, 6)
    assert len(_launched(8, 12, plain)) == 1 + 2 + 3 + 1 + 2
    assert _launched(8, 12, plain, dtype=np.float64) == []
    assert _launched(8, 12, plain, groups=2) == []
    assert _launched(6, 12, plain) == _launched(8, 10, plain) == []  # no whole vectors
    for r, s, stride in ((5, 3, (1, 1)), (3, 1, (1, 1)), (3, 3, (1, 2))):
        assert _launched(8, 12, Window(6, 6, r, s, stride, (1, 1), (1, 1), False, (1, 1))) == []
    gpunn.set_winograd_enabled(False)
    assert _launched(8, 12, plain) == []
    gpunn.set_winograd_enabled(True)
    gpunn.set_precision("tf32")  # too small for tensor cores
    assert len(_launched(8, 12, plain)) == 9


def test_no_images_have_no_tiles(kernels: str) -> None:
    where, window = device(kernels), _window(6, 6)
    x, weight = _on(where, _numbers(0, 6, 6, 8), _numbers(12, 3, 3, 8))
    y, launched = _kernels(lambda: conv2d_forward(where, x, weight, window, 1, None, False))
    assert y.shape == (0, 6, 6, 12)
    back, of_back = _kernels(lambda: conv2d_backward(where, y, None, x, weight, window, 1, (True, True, True)))
    assert not any("winograd" in kernel for kernel in launched + of_back)
    assert back[0].shape == (0, 6, 6, 8)
    assert not host(back[1]).any()


def test_arrays_that_begin_between_vectors_do_not_fit(kernels: str) -> None:
    where, window = device(kernels), _window(6, 6)
    x = where.array(_numbers(1, 6, 6, 8))
    odd = where.array(np.zeros(x.size + 1, np.float32))[1:].reshape(x.shape)
    assert fits(x.dtype, window, 1, 1, 8, 8, x, None)
    assert not fits(x.dtype, window, 1, 1, 8, 8, x, odd)


def test_the_switch_has_plans_and_graphs_of_its_own(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv2d_winograd, "_PAYS", np.inf)
    _forget()
    layer = nn.Conv2d(8, 12, 3, padding=1).to(kernels)
    x = gpunn.tensor(_numbers(2, 8, 6, 6), device=kernels)
    step = gpunn.capture(lambda batch: layer(batch))
    found: dict[bool, bytes] = {}
    for mode in (True, False, True):
        gpunn.set_winograd_enabled(mode)
        for call in (layer, step):
            for _ in range(3):
                bits = call(x).detach().cpu().numpy().tobytes()
                assert found.setdefault(mode, bits) == bits
    assert found[True] != found[False]
    assert step.graphs == 2
    _forget()


def _forget() -> None:
    """What the rule has worked out with another limit."""
    for remembered in (conv2d_winograd._choose, conv2d_winograd.choose_weight):
        remembered.cache_clear()


def test_a_captured_training_step_is_the_eager_one(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv2d_winograd, "_PAYS", np.inf)
    _forget()
    x, labels = _numbers(4, 8, 6, 6), np.arange(4) % 3

    def trained(captured: bool) -> tuple[list[bytes], list[str]]:
        gpunn.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.Flatten(), nn.Linear(128, 3)
        ).to(kernels)
        optimizer = gpunn.optim.SGD(net.parameters(), lr=0.01)

        def step(images: Any, goals: Any) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), goals)
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        batch = gpunn.tensor(x, device=kernels), gpunn.tensor(labels, device=kernels)
        with trace_launches() as launches:
            for _ in range(4):
                run(*batch)
        return [p.detach().cpu().numpy().tobytes() for p in net.parameters()], [one.kernel for one in launches]

    eager, launched = trained(False)
    assert {*FORWARD, *DATA, *WEIGHT, "winograd_weight_gradient"} <= set(launched)
    assert trained(True)[0] == eager
    _forget()


@pytest.mark.emulator
@pytest.mark.parametrize("n", [64, 160])
def test_memory_does_not_grow_with_the_batch(n: int) -> None:
    where, window = device("emulator"), _window(56, 56)
    x, weight = where.empty((n, 56, 56, 64), np.dtype(np.float32)), where.array(_numbers(64, 3, 3, 64))
    with dry_launches() as launches:
        y = conv2d_winograd.forward(where, (WINOGRAD, 128), x, weight, window, None, False)
        conv2d_winograd.backward_data(where, (WINOGRAD, 128), y, weight, x.shape, window, None)
        conv2d_winograd.backward_weight(where, (WINOGRAD, 128), y, x, weight, window)
    for form, arrays in (("nt", (0, 1)), ("nn", (0, 1)), ("tn", (1, 2))):  # what grows with the batch
        products = [launch.args for launch in launches if launch.kernel == f"gemm_batched_{form}"]
        assert len(products) == -(-n // 35)
        assert all(100 << 20 < sum(args[i].nbytes for i in arrays) <= 128 << 20 for args in products)


@pytest.mark.emulator
def test_the_same_bits_in_every_order_of_blocks() -> None:
    where, window = device("emulator"), _window(9, 9)
    x, weight = _numbers(4, 9, 9, 36), _numbers(40, 3, 3, 36, seed=1)
    dy, y = _numbers(4, 9, 9, 40, seed=2), _numbers(4, 9, 9, 40, seed=3)
    found = []
    for order in ("forward", "reverse", "shuffled"):
        with in_order("emulator", order, seed=1):
            given = _on(where, x, weight, dy, y)
            output, _ = _kernels(lambda: conv2d_forward(where, *given[:2], window, 1, None, True))  # noqa: B023
            back, _ = _kernels(
                lambda: conv2d_backward(where, given[2], given[3], *given[:2], window, 1, (True, True, True))  # noqa: B023
            )
        found.append([host(array).tobytes() for array in (output, *back)])
    assert found[0] == found[1] == found[2]
