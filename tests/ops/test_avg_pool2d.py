"""avg_pool2d against PyTorch, known answers, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn._window import Window
from gpunn.cpu import threads
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.avg_pool2d import avg_pool2d, avg_pool2d_forward
from tests.devices import EVERYWHERE

# Sums of up to 16 numbers of order one, whose order differs: some roundings of 6e-8 and 1e-16.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Any average pooling of a small image, empty batches and images of one pixel among them."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    how: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": draw(st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(1, 5)))),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
        "divisor_override": draw(st.sampled_from([None, None, 3, -2])),
    }
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    assume(all(k <= n + 2 * p for n, k, p in zip(size, kernel, how["padding"], strict=True)))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    shape = (draw(st.integers(0, 3)), draw(st.integers(1, 9)), *size)
    return {"x": rng.standard_normal(shape).astype(draw(st.sampled_from([np.float32, np.float64]))), "how": how}


def _check_against_torch(where: str, configuration: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    x, how = configuration["x"], configuration["how"]
    parity.compare(
        lambda x: avg_pool2d(x, **how),
        lambda x: parity.torch.nn.functional.avg_pool2d(x, **how),
        {"x": x},
        where,
        TOLERANCE[x.dtype.type],
        least_scale=1,
    )


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch(configuration: dict[str, Any]) -> None:
    _check_against_torch("cpu", configuration)


@given(configurations())
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict[str, Any]) -> None:
    _check_against_torch(kernels, configuration)


@pytest.mark.parametrize("shape", [(2, 3, 16, 17), (1, 36, 9, 8), (2, 132, 6, 7)])
def test_windows_shared_by_a_block_match_torch(kernels: str, shape: tuple[int, ...]) -> None:
    """Windows of up to the whole image, too."""
    x = np.random.Generator(np.random.Philox(1)).standard_normal(shape).astype(np.float32)
    for how in ({"kernel_size": 6, "stride": 2, "padding": 3, "ceil_mode": True}, {"kernel_size": shape[2:]}):
        _check_against_torch(kernels, {"x": x, "how": how})
        _check_against_torch(kernels, {"x": x, "how": {**how, "count_include_pad": False}})


def test_several_blocks_of_images_match_torch() -> None:
    """4 MB: both threads have several blocks, and the scratch memory of the last is larger than needed."""
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(0)).standard_normal((21, 6, 90, 91)).astype(np.float32)
    for how in ((2,), (3, 2, 1), (3, 1, 1, False, False)):
        parity.compare(
            lambda x, how=how: avg_pool2d(x, *how),
            lambda x, how=how: parity.torch.nn.functional.avg_pool2d(x, *how),
            {"x": x},
            "cpu",
            1e-6,
        )


def test_strided_input_is_read_in_place_of_a_copy() -> None:
    x = np.arange(2 * 3 * 8 * 10, dtype=np.float32).reshape(2, 3, 8, 10)
    part = gpunn.from_numpy(x[:, ::2, 1:7, ::-2])
    got = avg_pool2d(part, 2, 1).numpy()
    u = x[:, ::2, 1:7, ::-2]
    # Whole numbers below 2^23: exact.
    np.testing.assert_array_equal(got, (u[..., :-1, :-1] + u[..., 1:, :-1] + u[..., :-1, 1:] + u[..., 1:, 1:]) / 4)


def test_known_answers() -> None:
    x = gpunn.tensor([[[[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]]])
    assert avg_pool2d(x, 2).tolist() == [[[[3.25, 5.25], [2.0, 2.0]]]]
    ones = gpunn.ones(1, 1, 5, 5)
    # Padding counts as zeros, what ceil_mode lets hang over it does not count at all.
    assert avg_pool2d(ones, 2, 2, 1, True).tolist() == [[[[0.25, 0.5, 0.5], [0.5, 1, 1], [0.5, 1, 1]]]]
    assert avg_pool2d(ones, 2, 2, 1, True, False).tolist() == [[[[1.0] * 3] * 3]]
    assert avg_pool2d(ones, 5, divisor_override=5).item() == 5


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("channels", [1, 4])
def test_nan_and_infinity_stay_in_their_windows(where: str, channels: int) -> None:
    """Also of small images, which the CPU takes as a product with a matrix, zeros of which would spread them."""
    x = np.ones((2, channels, 4, 6), np.float32)
    x[0, 0, 0, 0], x[0, 0, 2, 3] = np.nan, -np.inf
    t = gpunn.tensor(x, device=where, requires_grad=True)
    y = avg_pool2d(t, 2)
    got = y.detach().numpy()
    np.testing.assert_array_equal(got[0, 0], [[np.nan, 1, 1], [1, -np.inf, 1]])
    np.testing.assert_array_equal(got[1], np.ones((channels, 2, 3)))
    dy = np.ones(y.shape, np.float32)
    dy[0, 0, 0, 0] = np.nan
    y.backward(gpunn.tensor(dy, device=where))
    assert np.isnan(t.grad.numpy()[0, 0, :2, :2]).all()
    assert np.isnan(t.grad.numpy()).sum() == 4


@pytest.mark.parametrize("shape", [(1, 1, 1, 40), (3, 5, 8, 8), (2, 7, 40, 45), (600, 1, 3, 3), (2, 1, 60, 60)])
def test_the_whole_image_and_infinity(shape: tuple[int, ...]) -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal(shape)
    x[0, 0, 0, 0] = np.inf
    t = gpunn.tensor(x, requires_grad=True)
    y = avg_pool2d(t, shape[2:])
    np.testing.assert_allclose(y.detach().numpy(), x.mean(axis=(2, 3), keepdims=True), rtol=0, atol=1e-14)
    y.sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), np.full(shape, 1 / (shape[2] * shape[3])), rtol=1e-15)


def test_large_windows_keep_their_digits() -> None:
    """65,536 ones and a large mean: one running float32 sum would be off by 1e-4 and more."""
    x = (1000 + np.random.Generator(np.random.Philox(0)).standard_normal((1, 2, 256, 256))).astype(np.float32)
    got = avg_pool2d(gpunn.tensor(x), 256).numpy()
    # Two sums of 256 numbers: 256 roundings of 2^-24 each at most, and they do not all go one way.
    np.testing.assert_allclose(got, x.mean(axis=(2, 3), keepdims=True, dtype=np.float64), rtol=5e-6)


def test_threads_do_not_change_a_bit() -> None:
    x = np.random.Generator(np.random.Philox(0)).standard_normal((9, 60, 60, 8)).astype(np.float32)
    window = Window(60, 60, 3, 3, (2, 2), (1, 1), (1, 1))
    before = threads.get_num_threads()
    try:
        made = []
        for count in (1, 3):
            threads.set_num_threads(count)
            assert avg_pool2d_forward.numpy_body is not None
            made.append(avg_pool2d_forward.numpy_body(x, window, True, 0).tobytes())
    finally:
        threads.set_num_threads(before)
    assert made[0] == made[1]


@pytest.mark.parametrize(
    "how", [(2,), (3, 2, 1), (2, 3), ((1, 3), (1, 2), (0, 1), True, False), (3, 1, 1, False, True, 2)]
)
def test_gradcheck(how: tuple[Any, ...]) -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((2, 2, 6, 5))
    assert gradcheck(lambda t: avg_pool2d(t, *how), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "how", "error", "message"),
    [
        (gpunn.zeros(4, 4), {"kernel_size": 2}, ShapeError, r"expected x of shape \(N, C, H, W\) or \(C, H, W\); got"),
        (gpunn.zeros(1, 0, 4, 4), {"kernel_size": 2}, ShapeError, "no axis of 0 but N"),
        (gpunn.zeros(1, 1, 2, 4), {"kernel_size": 3}, ShapeError, "the window is 3 in height"),
        (gpunn.zeros(1, 1, 4, 5), {"kernel_size": 2, "strict": True}, ShapeError, "strict: .*1 column"),
        (gpunn.zeros(1, 1, 4, 4), {"kernel_size": 2, "padding": 2}, UsageError, "more than half the kernel"),
        (gpunn.zeros(1, 1, 4, 4), {"kernel_size": 0}, UsageError, "kernel_size"),
        (gpunn.zeros(1, 1, 4, 4), {"kernel_size": 2, "divisor_override": 0}, UsageError, "divisor_override: .*got 0"),
        (gpunn.zeros(1, 1, 4, 4, dtype=np.int64), {"kernel_size": 2}, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, how: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        avg_pool2d(x, **how)
