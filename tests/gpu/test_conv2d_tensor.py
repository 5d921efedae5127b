"""Convolutions of float32 by tensor cores: bounds of their errors, what is taken, infinities, the same bits always."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import device
from gpunn._window import Window
from gpunn.emulator import counting
from gpunn.gpu import conv2d, conv2d_tensor, tensor
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from tests.convolutions import error as _error
from tests.convolutions import numbers as _numbers
from tests.convolutions import on as _on
from tests.convolutions import wide as _wide
from tests.devices import host, in_order
from tests.emulator import kernel_counts

# As in tests/test_precision.py: the largest error, relative to the largest element. "bf16" is as "tf32".
BOUNDS = {"tf32": 1e-3, "tf32x3": 2e-6}
MODES = tuple(BOUNDS)
NARROWEST = conv2d_tensor._NARROWEST
FORWARD = ["conv2d_tensor_forward"]
BACK = ["bias_backward", "conv2d_tensor_backward_weight", "conv2d_tensor_backward_data"]

# n, h, w, c, k, r, s, stride, padding, dilation: rows that cut tiles; filter elements that a step straddles, and more
# in one step; more than a tile of channels; strides with pixels that nothing reaches; dilation; outputs of one column,
# and of one pixel.
CONVOLUTIONS = (
    (2, 9, 8, 16, 72, 3, 3, (1, 1), (1, 1), (1, 1)),
    (3, 7, 7, 68, 132, 3, 3, (1, 1), (1, 1), (1, 1)),
    (2, 11, 9, 36, 24, 3, 2, (2, 2), (1, 0), (1, 1)),
    (2, 10, 13, 4, 80, 5, 5, (2, 3), (2, 2), (1, 1)),
    (1, 13, 12, 20, 68, 3, 3, (1, 2), (2, 2), (3, 2)),
    (2, 9, 9, 132, 16, 1, 1, (3, 3), (0, 0), (1, 1)),
    (40, 4, 3, 12, 16, 4, 3, (1, 1), (0, 0), (1, 1)),
    (1, 40, 3, 8, 8, 3, 3, (1, 1), (1, 0), (1, 1)),
)


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tensor, "LEAST", 0)
    monkeypatch.setattr(conv2d_tensor, "_NARROWEST", dict.fromkeys(("TF32", "TF32X3"), 1))
    # Images of 4 channels would be a first layer's.
    monkeypatch.setattr("gpunn.gpu.conv2d_first.takes", lambda *args, **kwargs: False)
    yield
    gpunn.set_precision("fp32")


def _kernels(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    with trace_launches() as launches:
        found = call()
    return found, [launch.kernel for launch in launches]


def _window(h: int, w: int, r: int, s: int, stride: Any, padding: Any, dilation: Any) -> Window:
    return Window(h, w, r, s, stride, padding, dilation, False, padding)


@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_convolutions_are_within_their_bounds(kernels: str, mode: str, shape: Any) -> None:
    where, cpu = device(kernels), device("cpu")
    gpunn.set_precision(mode)
    n, h, w, c, k, r, s, *rest = shape
    window = _window(h, w, r, s, *rest)
    x, weight, bias = _numbers(n, h, w, c), _numbers(k, r, s, c, seed=1), _numbers(k, seed=2)
    relu = k % 16 == 0
    given = _on(where, x, weight, bias)
    y, launched = _kernels(lambda: conv2d_forward(where, *given[:2], window, 1, given[2], relu))
    assert launched == FORWARD
    wide = _wide(x, weight, bias)
    expected = conv2d_forward(cpu, *wide[:2], window, 1, wide[2], relu)
    error = _error(y, expected)
    assert error <= BOUNDS[mode]
    assert mode == "tf32x3" or error > 1e-5, "this was not rounded"
    dy, more = _numbers(*y.shape, seed=3), _numbers(*x.shape, seed=4)
    gate = y if relu else None  # the mask is that of y as it was rounded
    args = (where.array(dy), gate, *given[:2], window, 1, (True, True, True), where.array(more))
    found, launched = _kernels(lambda: conv2d_backward(where, *args))
    assert launched == BACK
    grads = conv2d_backward(cpu, *_wide(dy, gate), *wide[:2], window, 1, (True, True, True), _wide(more)[0])
    for one, other in zip(found, grads, strict=True):
        assert _error(one, other) <= BOUNDS[mode]


@pytest.mark.parametrize("mode", MODES)
def test_a_convolution_in_slices(kernels: str, mode: str) -> None:
    """All three reductions are split, into a short first step and slices that are not equally long."""
    where, cpu = device(kernels), device("cpu")
    gpunn.set_precision(mode)
    window = _window(6, 6, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight, dy = _numbers(17, 6, 6, 68), _numbers(68, 3, 3, 68, seed=1), _numbers(17, 6, 6, 68, seed=2)
    args = _on(where, dy, None, x, weight)
    with trace_launches() as launches:
        y = conv2d_forward(where, *args[2:], window, 1, None, False)
        found = conv2d_backward(where, *args, window, 1, (True, True, False))
    assert [launch.grid[2] for launch in launches] == [2, 2, 2]
    wide = _wide(dy, None, x, weight)
    assert _error(y, conv2d_forward(cpu, *wide[2:], window, 1, None, False)) <= BOUNDS[mode]
    for one, other in zip(found[:2], conv2d_backward(cpu, *wide, window, 1, (True, True, False))[:2], strict=True):
        assert _error(one, other) <= BOUNDS[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_infinities_and_nan_reach_what_they_belong_to(kernels: str, mode: str) -> None:
    where = device(kernels)
    gpunn.set_precision(mode)
    window = _window(7, 6, 3, 3, (1, 2), (1, 1), (1, 1))
    x, weight, bias = _numbers(1, 7, 6, 36), _numbers(40, 3, 3, 36, seed=1), _numbers(40, seed=2)
    dy = _numbers(1, window.P, window.Q, 40, seed=3)
    x[0, 3, 3, 5], x[0, 1, 0, 9], x[0, 6, 5, 3] = np.nan, np.inf, np.finfo(np.float32).max
    weight[3, 1, 1, 9], weight[4, 1, 1, 9], weight[5, 0, 2, 3] = 1.0, 0.0, -np.inf  # 1.0 has no low part
    weight[:, 1, 1, 3] *= np.float32(1e-6)
    dy[0, 2, 1, 7], dy[0, 0, 0, 1], dy[0, 4, 2, 8] = np.nan, -np.inf, np.finfo(np.float32).max

    def check(found: Any, exact: np.ndarray) -> None:
        got, expected = (
            host(found),
            exact.astype(np.float32).astype(np.float64),
        )  # what is too large for float32 is infinite
        finite = np.isfinite(expected)
        assert 0 < finite.sum() < expected.size
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        assert np.array_equal(got[np.isinf(expected)], expected[np.isinf(expected)])
        # Sums of some hundred terms come near 100; those that the largest number is in are as exact as that.
        scale = np.maximum(100, np.abs(expected[finite]))
        assert (np.abs(got[finite] - expected[finite]) <= BOUNDS[mode] * scale).all()

    given, wide = _on(where, x, weight, bias), _wide(x, weight, bias)
    for relu in (False, True):
        y, launched = _kernels(lambda r=relu: conv2d_forward(where, *given[:2], window, 1, given[2], r))  # type: ignore[misc]
        assert launched == FORWARD
        check(y, conv2d_forward.plain(np, *wide[:2], window, 1, wide[2], relu))
    # In dx the kernels multiply by zeros beyond the border, which the plain body does not: NaN, were this infinite.
    # And the largest number times another is infinite, which may be less infinity; dy has one of its own.
    weight[5, 0, 2, 3] = x[0, 6, 5, 3] = -1
    given, wide, needs = _on(where, x, weight), _wide(x, weight), (True, True, False)
    found, launched = _kernels(lambda: conv2d_backward(where, where.array(dy), None, *given, window, 1, needs, None))
    assert launched == BACK[1:]
    expected = conv2d_backward.plain(np, *_wide(dy, None), *wide, window, 1, needs, None)
    for one, other in zip(found[:2], expected[:2], strict=True):
        check(one, other)


def test_what_is_left_to_ffma(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device(kernels)

    def launched(c: int, k: int, r: int, groups: int = 1, dtype: Any = np.float32) -> list[str]:
        window = _window(9, 9, r, r, (1, 1), (1, 1), (1, 1))
        x, weight = (a.astype(dtype) for a in (_numbers(1, 9, 9, c), _numbers(k, r, r, c // groups)))
        given = _on(where, x, weight)

        def both() -> None:
            y = conv2d_forward(where, *given, window, groups, None, False)
            conv2d_backward(where, y, None, *given, window, groups, (True, True, False))

        return [name for name in _kernels(both)[1] if "tensor" in name]

    assert launched(24, 40, 3) == []  # float32 is the default
    gpunn.set_precision("tf32")
    assert launched(24, 40, 3) == FORWARD + BACK[1:]
    assert launched(22, 40, 3) == launched(24, 38, 3) == []  # channels that are no whole vectors
    assert launched(24, 40, 3, groups=2) == []
    assert launched(24, 40, 6) == []  # more filter elements than an int has bits
    assert launched(24, 40, 3, dtype=np.float64) == []
    monkeypatch.setattr(conv2d_tensor, "_NARROWEST", {"TF32": 33, "TF32X3": 65})
    assert launched(24, 40, 3) == ["conv2d_tensor_forward", "conv2d_tensor_backward_weight"]  # dx has 24 columns
    assert launched(40, 24, 3) == ["conv2d_tensor_backward_data"]
    gpunn.set_precision("tf32x3")
    assert launched(40, 48, 3) == []
    gpunn.set_precision("tf32")
    monkeypatch.setattr(tensor, "LEAST", 9 * 9 * 36 * 36 * 9)
    assert launched(36, 36, 3) == FORWARD + BACK[1:]
    monkeypatch.setattr(tensor, "LEAST", tensor.LEAST + 1)
    assert launched(36, 36, 3) == []
    monkeypatch.setattr(tensor, "LEAST", 0)
    # Arrays that begin between vectors.
    window = _window(9, 9, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = _on(where, _numbers(1, 9, 9, 36), _numbers(36, 3, 3, 36))
    odd = where.array(np.zeros(x.size + 1, np.float32))[1:].reshape(x.shape)
    assert conv2d_tensor.takes_forward(where, x, weight, window)
    assert not conv2d_tensor.takes_forward(where, odd, weight, window)
    assert not conv2d_tensor.takes_weight(where, x, None, odd, weight, window)
    assert conv2d_tensor.takes_data(where, x, None, weight, x.shape, window, None)
    assert not conv2d_tensor.takes_data(where, x, None, weight, x.shape, window, odd)
    assert not conv2d_tensor.takes_data(where, x, odd, weight, x.shape, window, None)
    monkeypatch.setattr(tensor, "has_tensor_cores", lambda device: False)
    assert not conv2d_tensor.takes_forward(where, x, weight, window)


@pytest.mark.emulator
def test_what_is_too_tall_or_too_deep_is_left_to_ffma() -> None:
    """A grid has 65535 rows of tiles, or 273 phases of 240 slices; a row of the product at most 2^23 - 1 numbers."""
    where = device("emulator")

    def taken(product: int, n: int, side: int, c: int, r: int, stride: int) -> bool:
        window = _window(side, side, r, r, (stride, stride), (0, 0), (1, 1))
        weight = np.empty((4, r, r, c), np.float32)  # of which nothing is read
        return conv2d_tensor._takes(where, product, (n, side, side, c), weight, window)

    gpunn.set_precision("tf32")
    forward, data = conv2d_tensor._FORWARD, conv2d_tensor._DATA
    assert taken(forward, 65535 * 2, 8, 4, 1, 1)  # of 64 pixels: half a tile
    assert not taken(forward, 65535 * 2 + 1, 8, 4, 1, 1)
    assert taken(data, 1, 16, 4, 3, 16)
    assert not taken(data, 1, 17, 4, 3, 17)
    assert taken(forward, 1, 2, 2**21 - 4, 2, 1)
    assert not taken(forward, 1, 2, 2**21, 2, 1)


def test_what_the_three_products_are() -> None:
    """Of the data gradient one for each phase, with the most filter elements that a phase has."""
    window = _window(9, 8, 3, 4, (2, 2), (1, 1), (1, 1))
    forward, data, weight = conv2d_tensor._sizes(5, 8, 12, window)
    assert (window.P, window.Q) == (5, 4)
    assert forward == (5 * 5 * 4, 12, 3 * 4 * 8)
    assert data == (5 * 5 * 4, 8, 3 * 12)
    assert weight == (12, 3 * 4 * 8, 5 * 5 * 4)


@pytest.mark.parametrize(("mode", "least"), [("tf32", 33), ("tf32x3", 65), ("bf16", 33)])
@pytest.mark.emulator
def test_narrow_products_are_left_to_ffma(monkeypatch: pytest.MonkeyPatch, mode: str, least: int) -> None:
    """Those with fewer rows or columns than a quarter of a tile, or than half of one where each product takes three."""
    monkeypatch.setattr(conv2d_tensor, "_NARROWEST", NARROWEST)
    where = device("emulator")
    gpunn.set_precision(mode)

    def taken(product: int, pixels: int, c: int, k: int) -> bool:
        window = _window(1, pixels, 1, 1, (1, 1), (0, 0), (1, 1))
        return conv2d_tensor._takes(where, product, (1, 1, pixels, c), np.empty((k, 1, 1, c), np.float32), window)

    wide = least + -least % 4
    forward, data, weight = conv2d_tensor._FORWARD, conv2d_tensor._DATA, conv2d_tensor._WEIGHT
    for product in (forward, data):
        assert taken(product, least, wide, wide)
        assert not taken(product, least - 1, wide, wide)
    assert taken(weight, 4, wide, wide)
    assert not taken(forward, least, wide, wide - 4)
    assert taken(forward, least, wide - 4, wide)
    assert not taken(data, least, wide - 4, wide)
    assert taken(data, least, wide, wide - 4)
    assert not taken(weight, least, wide - 4, wide)
    assert not taken(weight, least, wide, wide - 4)


def test_no_more_tiles_than_rows_and_columns_need(kernels: str) -> None:
    """128 pixels and filters are one tile; one more pixel another."""
    where = device(kernels)
    gpunn.set_precision("tf32")
    for n, w, tiles in ((2, 8, (1, 1)), (1, 129, (1, 2))):
        x, weight = _on(where, _numbers(n, 8 if n == 2 else 1, w, 12), _numbers(128, 1, 3, 12))
        window = _window(x.shape[1], w, 1, 3, (1, 1), (0, 1), (1, 1))
        with trace_launches() as launches:
            conv2d_forward(where, x, weight, window, 1, None, False)
        assert [launch.grid[:2] for launch in launches] == [tiles]


def test_what_is_not_split_needs_no_memory(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the time depends on beside the sizes of the product, of a data gradient those of a phase."""
    asked: list[Any] = []

    def best(where: Any, source: Any, kernel: str, facts: Any, rule: Any, others: Any, run: Any) -> Any:
        asked.append((kernel, facts))
        return run(rule)

    monkeypatch.setattr(conv2d_tensor, "best", best)
    where = device(kernels)
    gpunn.set_precision("tf32")
    window = _window(9, 8, 3, 3, (2, 2), (1, 1), (1, 1))
    dy, x, weight = _on(where, _numbers(2, 5, 4, 12), _numbers(2, 9, 8, 8), _numbers(12, 3, 3, 8))
    with trace_launches() as launches:
        conv2d_tensor.forward(where, x, weight, window, None, False)
        conv2d_tensor.backward_weight(where, dy, x, weight, window)
        conv2d_tensor.backward_data(where, dy, weight, x.shape, window, None)
    assert [launch.kernel for launch in launches] == [*FORWARD, *BACK[1:]]
    assert [list(launch.args[1:3]) for launch in launches] == 3 * [[None, None]]
    known = conv2d.facts(2, 8, 12, window, 1, np.dtype(np.float32))
    sizes = (40, 12, 72), (12, 72, 40), (40, 8, 3 * 12)
    names = [*FORWARD, *BACK[1:]]
    assert asked == [(name, (*size, "TF32", *known)) for name, size in zip(names, sizes, strict=True)]


@pytest.mark.parametrize(("c", "k"), [(24, 40), (40, 24)], ids=str)
@pytest.mark.parametrize("relu", [False, True])
def test_one_gradient_by_tensor_cores_and_one_by_ffma(
    kernels: str, monkeypatch: pytest.MonkeyPatch, relu: bool, c: int, k: int
) -> None:
    """Either may leave dz to the other, with and without the weight's gradient."""
    monkeypatch.setattr(conv2d_tensor, "_NARROWEST", {"TF32": 33})
    where, cpu = device(kernels), device("cpu")
    gpunn.set_precision("tf32")
    window = _window(9, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight, dy = _numbers(2, 9, 8, c), _numbers(k, 3, 3, c, seed=1), _numbers(2, 9, 8, k, seed=2)
    y = np.maximum(_numbers(2, 9, 8, k, seed=3), 0) if relu else None
    given, wide = _on(where, dy, y, x, weight), _wide(dy, y, x, weight)
    for needs in (
        (True, True, True),
        (True, False, True),
        (True, False, False),
        (False, True, True),
        (True, True, False),
    ):
        found = conv2d_backward(where, *given, window, 1, needs)
        expected = conv2d_backward(cpu, *wide, window, 1, needs)
        for one, other in zip(found, expected, strict=True):
            assert (one is None) == (other is None)
            assert one is None or _error(one, other) <= BOUNDS["tf32"]


def test_each_precision_has_plans_and_graphs_of_its_own(kernels: str) -> None:
    layer = nn.Conv2d(36, 40, 3, padding=1).to(kernels)
    x = gpunn.tensor(_numbers(2, 36, 6, 6), device=kernels)
    step = gpunn.capture(lambda batch: layer(batch))
    found: dict[str, bytes] = {}
    for mode in ("fp32", *MODES, "bf16", "fp32", "tf32"):
        gpunn.set_precision(mode)
        for call in (layer, step):
            for _ in range(3):
                bits = call(x).detach().cpu().numpy().tobytes()
                assert found.setdefault(mode, bits) == bits
    assert found["bf16"] == found["tf32"]
    assert len(set(found.values())) == 3
    assert step.graphs == 4


def test_pytorchs_switches_tell_convolutions_from_products(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor, "_NARROWEST", 1)
    net = nn.Sequential(nn.Conv2d(36, 40, 3), nn.Flatten(), nn.Linear(160, 8)).to(kernels)
    x = gpunn.tensor(_numbers(4, 36, 4, 4), device=kernels)

    def launched() -> list[str]:
        return [name for name in _kernels(lambda: net(x))[1] if "tensor" in name]

    assert launched() == []
    gpunn.backends.cudnn.allow_tf32 = True
    assert launched() == FORWARD
    gpunn.backends.cuda.matmul.allow_tf32 = True
    assert launched() == [*FORWARD, "gemm_tensor_nt"]
    gpunn.backends.cudnn.allow_tf32 = False
    assert launched() == ["gemm_tensor_nt"]


def test_a_captured_training_step_is_the_eager_one(kernels: str) -> None:
    gpunn.set_precision("tf32")
    x, labels = _numbers(4, 36, 6, 6), np.arange(4) % 3

    def trained(captured: bool) -> tuple[list[bytes], list[str]]:
        gpunn.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(36, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 36, 3, stride=2), nn.Flatten(), nn.Linear(144, 3)
        ).to(kernels)
        optimizer = gpunn.optim.SGD(net.parameters(), lr=0.01)

        def step(images: Any, goals: Any) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), goals)
            loss.backward()
            optimizer.step()
            return loss

        run = gpunn.capture(step) if captured else step
        given = gpunn.tensor(x, device=kernels), gpunn.tensor(labels, device=kernels)
        _, launched = _kernels(lambda: [run(*given) for _ in range(4)])
        return [p.detach().cpu().numpy().tobytes() for p in net.parameters()], launched

    eager, launched = trained(False)
    assert {*FORWARD, *BACK} <= set(launched)
    assert trained(True)[0] == eager


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_channels_of_16_bits_in_vectors_of_4_round_only_the_result(kernels: str, name: str) -> None:
    """Vectors of 8 are tests/gpu/test_half.py's. Float32 copies of others are exact in tf32, whatever is set."""
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    where = device(kernels)
    dtype = gpunn.zeros(1, dtype=getattr(gpunn, name)).dtype
    window = _window(6, 5, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = _numbers(2, 6, 5, 12).astype(dtype), _numbers(20, 3, 3, 12, seed=1).astype(dtype)
    y, launched = _kernels(lambda: conv2d_forward(where, *_on(where, x, weight), window, 1, None, False))
    assert "conv2d_tensor_forward" in launched
    expected = conv2d_forward(device("cpu"), *_wide(x, weight), window, 1, None, False)
    near = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[name]  # half a place of the last bit; and float32's own errors
    assert (np.abs(host(y).astype(np.float64) - expected) <= near * np.abs(expected) + 3e-5).all()


# -- on the emulator ------------------------------------------------------------------------------


@pytest.mark.emulator
@pytest.mark.parametrize("mode", MODES)
def test_the_same_bits_in_every_order_of_blocks(mode: str) -> None:
    gpunn.set_precision(mode)
    where = device("emulator")
    window = _window(6, 6, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = _numbers(20, 6, 6, 68), _numbers(68, 3, 3, 68, seed=1)
    dy, y = _numbers(20, 6, 6, 68, seed=2), _numbers(20, 6, 6, 68, seed=3)
    found = []
    for order in ("forward", "reverse", "shuffled"):
        with in_order("emulator", order, seed=3), trace_launches() as launches:
            arrays = [conv2d_forward(where, x, weight, window, 1, None, False)]
            arrays += conv2d_backward(where, dy, y, x, weight, window, 1, (True, True, True))
            found.append(b"".join(host(array).tobytes() for array in arrays))
        assert all(launch.grid[2] > 1 for launch in launches if "tensor" in launch.kernel)
    assert found[0] == found[1] == found[2]


@pytest.mark.emulator
@pytest.mark.parametrize("mode", MODES)
def test_no_bank_conflicts_and_whole_sectors(mode: str) -> None:
    gpunn.set_precision(mode)
    where = kernel_counts.device()
    window = _window(8, 8, 3, 3, (1, 1), (1, 1), (1, 1))
    x, weight = _numbers(4, 8, 8, 128), _numbers(128, 3, 3, 128)
    with counting() as counts:
        y = conv2d_forward(where, x, weight, window, 1, None, True)
        conv2d_backward(where, y, y, x, weight, window, 1, (True, True, True))
    found = {name: count for name, count in counts.kernels.items() if "tensor" in name}
    assert len(found) == 3
    for kernel, count in found.items():
        assert count.bank_conflicts == 0, kernel
        assert count.sector_efficiency is not None
        assert count.sector_efficiency >= 0.95, (kernel, count.sector_efficiency)
