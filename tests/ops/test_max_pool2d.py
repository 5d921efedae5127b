"""max_pool2d against PyTorch, known answers, ties, NaN, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn._window import Window
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.max_pool2d import max_pool2d, max_pool2d_forward
from tests.devices import EVERYWHERE, call
from tests.examples import examples_of


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    """Any pooling of a small image, with many equal elements, minus infinities and NaN among them."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    how: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": draw(st.one_of(st.none(), st.tuples(st.integers(1, 3), st.integers(1, 3)))),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "dilation": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "ceil_mode": draw(st.booleans()),
    }
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    for n, k, p, d, step in zip(size, kernel, how["padding"], how["dilation"], how["stride"] or kernel, strict=True):
        assume(d * (k - 1) + 1 <= n + 2 * p)
        # A dilated window can lie around a small image without touching it; PyTorch's backward then
        # writes to a wild address. One more output than the floor covers ceil_mode.
        outputs = (n + 2 * p - d * (k - 1) - 1) // step + 2
        starts = [o * step - p for o in range(outputs) if o * step < n + p]
        assume(all(any(0 <= start + i * d < n for i in range(k)) for start in starts))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    x = rng.integers(-3, 4, (draw(st.integers(1, 3)), draw(st.integers(1, 9)), *size)).astype(np.float32)
    special = draw(st.sampled_from(["none", "inf"]))
    if special == "inf":
        x[rng.random(x.shape) < 0.3] = -np.inf
    return {"x": x, "how": how}


def _check_against_torch(where: str, configuration: dict) -> None:
    parity = pytest.importorskip("tests.parity")
    x, how = configuration["x"], configuration["how"]
    mine = gpunn.tensor(x, device=where, requires_grad=True)
    other = parity.torch.tensor(x, requires_grad=True)
    y, expected = max_pool2d(mine, **how), parity.torch.nn.functional.max_pool2d(other, **how)
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    dy = np.random.Generator(np.random.Philox(3)).standard_normal(expected.shape).astype(np.float32)
    y.backward(gpunn.tensor(dy, device=where))
    expected.backward(parity.torch.tensor(dy))
    # Up to 16 windows meet in one input; their sum may come in another order.
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=0, atol=1e-5)
    index = max_pool2d(mine.detach(), **how, return_indices=True)[1]
    expected = parity.torch.nn.functional.max_pool2d(other.detach(), **how, return_indices=True)[1]
    np.testing.assert_array_equal(index.numpy(), expected.numpy())


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch_on_cpu(configuration: dict) -> None:
    _check_against_torch("cpu", configuration)


@given(configurations())
@settings(max_examples=60, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict) -> None:
    _check_against_torch(kernels, configuration)


_LARGE: list[dict[str, Any]] = [
    {"kernel_size": 16},  # 256 elements: what a byte names, without a ReLU's mask beside them
    {"kernel_size": 17},
    {"kernel_size": (2, 200), "stride": (1, 3)},
    {"kernel_size": 28},  # all of an image
    {"kernel_size": (28, 11), "stride": (13, 4), "padding": (14, 5)},
    {"kernel_size": (13, 20), "stride": 4, "dilation": (2, 1), "ceil_mode": True},
]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("how", _LARGE, ids=str)
@pytest.mark.parametrize("channels", [1, 4])
def test_large_windows_match_torch(where: str, how: dict[str, Any], channels: int) -> None:
    rng = np.random.Generator(np.random.Philox(7))
    size = (3, 320) if how["kernel_size"] == (2, 200) else (28, 28)
    x = rng.permutation(2 * channels * size[0] * size[1]).reshape(2, channels, *size).astype(np.float32) - 50
    x[1, 0] -= 1e5  # so that a ReLU closes
    _check_against_torch(where, {"x": x, "how": how})
    _check_with_relu(where, x, how)


def _check_with_relu(where: str, x: np.ndarray, how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    functional = parity.torch.nn.functional

    def theirs(x: Any) -> Any:
        return functional.max_pool2d(functional.relu(x), **how).flatten(1)

    # Up to 28 windows meet in one input.
    parity.compare(lambda x: max_pool2d(x, activation="relu", flatten=True, **how), theirs, {"x": x}, where, 3e-6)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("size", "relu"), [(65_535, True), (65_536, False), (65_536, True), (65_537, False)])
def test_windows_of_more_elements_than_two_bytes_count(where: str, size: int, relu: bool) -> None:
    values = np.full(size + 1, -2.0, np.float32)
    values[size - 1] = 3.0  # the last element of the first window
    x = gpunn.tensor(values.reshape(1, 1, 1, -1), device=where, requires_grad=True)
    y = max_pool2d(x, (1, size), 1, activation="relu" if relu else None)
    assert y.tolist() == [[[[3.0, 3.0]]]]
    y.backward(gpunn.tensor([[[[5.0, 7.0]]]], device=where))
    assert x.grad is not None
    expected = np.zeros_like(values)
    expected[size - 1] = 12.0
    np.testing.assert_array_equal(x.grad.numpy().ravel(), expected)
    if relu:  # closed, nothing goes back
        below = gpunn.full((1, 1, 1, size + 1), -1.0, device=where, requires_grad=True)
        max_pool2d(below, (1, size), 1, activation="relu").sum().backward()
        assert below.grad is not None
        assert not below.grad.numpy().any()


def test_lecture_example() -> None:
    """COVERAGE L15: K = 2, S = 2."""
    x = np.array([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], np.float32)
    assert max_pool2d(gpunn.tensor(x[None, None]), 2, 2).tolist() == [[[[6, 8], [3, 4]]]]


def test_a_window_that_touches_nothing_is_minus_infinity_and_gets_nothing() -> None:
    x = gpunn.ones(1, 1, 1, 3, requires_grad=True)
    y = max_pool2d(x, 2, 1, 1, 2)
    assert y.tolist() == [[[[-np.inf, -np.inf, -np.inf]]]] or y.shape[2] == 1
    y.sum().backward()
    assert x.grad.tolist() == [[[[0, 0, 0]]]]


def test_first_of_equal_elements_gets_the_gradient() -> None:
    x = gpunn.ones(1, 1, 2, 2, requires_grad=True)
    max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


@pytest.mark.parametrize("where", EVERYWHERE)
@given(configurations())
@settings(max_examples=30, deadline=None)
def test_flattened_in_the_same_pass_is_flattened_afterwards(where: str, configuration: dict) -> None:
    given_x, how = configuration["x"], configuration["how"]
    results = []
    for fused in (True, False):
        x = gpunn.tensor(given_x, device=where, requires_grad=True)
        y = max_pool2d(x, **how, flatten=True) if fused else max_pool2d(x, **how).flatten(1)
        y.backward(gpunn.tensor(np.arange(y.numel(), dtype=np.float32).reshape(y.shape), device=where))
        results.append((y.detach().numpy(), x.grad.numpy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("flatten", [False, True])
@given(configurations(), st.booleans())
@settings(max_examples=30, deadline=None)
def test_rectified_in_the_same_pass_is_pooling_what_a_relu_gave(
    where: str, flatten: bool, configuration: dict, with_nan: bool
) -> None:
    given_x, how = configuration["x"].copy(), configuration["how"]
    if with_nan:
        given_x.flat[::5] = np.nan
    results = []
    for fused in (True, False):
        x = gpunn.tensor(given_x, device=where, requires_grad=True)
        if fused:
            y = max_pool2d(x, **how, activation="relu", flatten=flatten)
        else:
            y = max_pool2d(gpunn.nn.functional.relu(x), **how, flatten=flatten)
        y.backward(gpunn.tensor(1 + np.arange(y.numel(), dtype=np.float32).reshape(y.shape), device=where))
        results.append((y.detach().numpy(), x.grad.numpy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("window", "relu", "size"), [((15, 17), True, 1), ((16, 16), False, 1), ((16, 16), True, 2), ((17, 17), False, 2)]
)
def test_offsets_take_a_byte_unless_the_window_has_more_elements(
    where: str, window: tuple[int, int], relu: bool, size: int
) -> None:
    example = {"window": Window(20, 20, *window, (1, 1), (0, 0), (1, 1)), "flat": False, "relu": relu}
    _, offset = call(max_pool2d_forward, where, np.zeros((1, 20, 20, 4), np.float32), *example.values())
    assert offset.itemsize == size


def test_refuses_a_relu_with_indices() -> None:
    x = gpunn.randn(1, 1, 20, 20)
    with pytest.raises(UsageError, match="activation: expected without return_indices; apply relu to the values"):
        max_pool2d(x, 2, return_indices=True, activation="relu")
    with pytest.raises(UsageError, match="activation: expected None or 'relu'; got 'tanh'"):
        max_pool2d(x, 2, activation="tanh")


def test_sequential_flattens_in_the_pool() -> None:
    from gpunn import nn

    pool, flatten = nn.MaxPool2d(2), nn.Flatten()
    assert nn.fused_pairs([pool, flatten]) == [(pool, flatten)]
    assert nn.fused_pairs([pool, nn.Flatten(1, 3)]) != []
    assert nn.fused_pairs([pool, nn.Flatten(2)]) == nn.fused_pairs([pool, nn.Flatten(0)]) == []
    assert nn.fused_pairs([nn.MaxPool2d(2, return_indices=True), flatten]) == []
    x = gpunn.randn(2, 3, 4, 6)
    np.testing.assert_array_equal(nn.Sequential(pool, flatten)(x).numpy(), flatten(pool(x)).numpy())


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_nan_wins(size: tuple) -> None:
    x = np.zeros((1, 1, *size), np.float32)
    x[0, 0, 1, 0] = np.nan
    t = gpunn.tensor(x, requires_grad=True)
    y = max_pool2d(t, 2)
    assert np.isnan(y.detach().numpy()[0, 0, 0, 0])
    assert not np.isnan(y.detach().numpy()[0, 0, 1:]).any()
    y.sum().backward()
    assert t.grad.numpy()[0, 0, 1, 0] == 1


def test_gradcheck() -> None:
    x = np.random.Generator(np.random.Philox(1)).permutation(2 * 2 * 6 * 5).reshape(2, 2, 6, 5).astype(np.float64)
    assert gradcheck(lambda t: max_pool2d(t, 3, 2, 1), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "how", "error", "message"),
    [
        (gpunn.zeros(4, 4), {"kernel_size": 2}, ShapeError, r"expected x of shape \(N, C, H, W\)"),
        (gpunn.zeros(1, 1, 2, 4), {"kernel_size": 3}, ShapeError, "the window is 3 in height"),
        (gpunn.zeros(1, 1, 4, 4), {"kernel_size": 2, "padding": 2}, UsageError, "more than half the kernel"),
        (gpunn.zeros(1, 1, 4, 5), {"kernel_size": 2, "strict": True}, ShapeError, "strict: .*1 column"),
        (gpunn.zeros(1, 0, 4, 5), {"kernel_size": 2}, ShapeError, "no axis of 0 but N"),
        (gpunn.zeros(1, 1, 4, 4), {"kernel_size": 0}, UsageError, "kernel_size"),
        (gpunn.zeros(1, 1, 4, 4, dtype=np.int64), {"kernel_size": 2}, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        max_pool2d(x, **how)


def test_refuses_indices_of_a_flattened_output() -> None:
    with pytest.raises(UsageError, match="flatten: expected without return_indices"):
        max_pool2d(gpunn.zeros(1, 1, 4, 4), 2, return_indices=True, flatten=True)


@pytest.mark.parametrize("block", [1, 1 << 8, 1 << 12])
def test_in_blocks_of_images_and_of_rows(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast bodies on blocks far smaller than theirs, down to a row: borders between them are everywhere."""
    from gpunn._device import device
    from gpunn.cpu import max_pool2d, max_pool2d_tiled
    from gpunn.primitive import REGISTRY

    for ways in (max_pool2d, max_pool2d_tiled):
        monkeypatch.setattr(ways, "_BLOCK", block)
        monkeypatch.setattr(ways, "_LEAST", 1)
    rng = np.random.default_rng(5)
    for primitive in (REGISTRY["max_pool2d_forward"], REGISTRY["max_pool2d_backward"]):
        for example in examples_of(primitive, rng):
            got, expected = primitive(device("cpu"), **example), primitive.plain(np, **example)
            for a, b in zip(got, expected, strict=True) if isinstance(got, tuple) else [(got, expected)]:
                # Up to 9 gradients are added up in another order.
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_last_row_of_windows_hangs_over_the_edge() -> None:
    x = np.arange(50, dtype=np.float32).reshape(1, 2, 5, 5)
    y = max_pool2d(gpunn.tensor(x), 2, ceil_mode=True)
    assert y.tolist() == [
        [[[25.0 * c + v for v in row] for row in ((6, 8, 9), (16, 18, 19), (21, 23, 24))] for c in (0, 1)]
    ]
