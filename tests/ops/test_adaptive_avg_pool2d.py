"""adaptive_avg_pool2d against PyTorch, known answers, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.gpu import windows
from gpunn.gpu.launcher import ceil_div, trace_launches
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d, adaptive_avg_pool2d_backward
from tests.devices import call

# Sums of up to 81 numbers of order one, whose order differs: some roundings of 6e-8 and 1e-16.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


CONFIGURATIONS = (
    st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
    st.one_of(st.integers(1, 5), st.tuples(st.one_of(st.none(), st.integers(1, 11)), st.integers(1, 11))),
    st.sampled_from([np.float32, np.float64]),
)


def _check_against_torch(where: str, shape: tuple[int, ...], size: Any, dtype: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(list(shape)[:2])).standard_normal(shape).astype(dtype)
    parity.compare(
        lambda x: adaptive_avg_pool2d(x, size),
        lambda x: parity.torch.nn.functional.adaptive_avg_pool2d(x, size),
        {"x": x},
        where,
        TOLERANCE[dtype],
        least_scale=1,
    )


@given(*CONFIGURATIONS)
@settings(max_examples=120, deadline=None)
def test_matches_torch(shape: tuple[int, ...], size: Any, dtype: Any) -> None:
    _check_against_torch("cpu", shape, size, dtype)


@given(*CONFIGURATIONS)
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, shape: tuple[int, ...], size: Any, dtype: Any) -> None:
    _check_against_torch(kernels, shape, size, dtype)


@pytest.mark.parametrize(("shape", "size"), [((2, 3, 16, 17), 1), ((1, 36, 13, 8), 1), ((2, 132, 20, 9), (3, 1))])
def test_windows_shared_by_a_block_match_torch(kernels: str, shape: tuple[int, ...], size: Any) -> None:
    _check_against_torch(kernels, shape, size, np.float32)


def test_several_blocks_of_images_match_torch() -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(0)).standard_normal((33, 96, 15, 14)).astype(np.float32)
    for size in (1, 7, (4, 6)):
        parity.compare(
            lambda x, size=size: adaptive_avg_pool2d(x, size),
            lambda x, size=size: parity.torch.nn.functional.adaptive_avg_pool2d(x, size),
            {"x": x},
            "cpu",
            1e-6,
        )


def test_known_answers() -> None:
    x = gpunn.arange(12.0).reshape(1, 1, 3, 4)
    assert adaptive_avg_pool2d(x, 1).item() == 5.5
    assert adaptive_avg_pool2d(x, (None, 2)).tolist() == [[[[0.5, 2.5], [4.5, 6.5], [8.5, 10.5]]]]
    # Two rows of three: rows 0 and 1, rows 1 and 2.
    assert adaptive_avg_pool2d(x, (2, 1)).tolist() == [[[[3.5], [7.5]]]]


def test_global_mean_of_a_strided_input_with_a_large_mean() -> None:
    x = (1000 + np.random.Generator(np.random.Philox(0)).standard_normal((4, 128, 128, 6))).astype(np.float32)
    part = x.transpose(0, 3, 1, 2)[:, ::2, :, 1:]
    got = adaptive_avg_pool2d(gpunn.from_numpy(part), 1).numpy()
    # Two sums of 128 numbers: 128 roundings of 2^-24 each at most, and they do not all go one way.
    np.testing.assert_allclose(got, part.mean(axis=(2, 3), keepdims=True, dtype=np.float64), rtol=5e-6)


@pytest.mark.parametrize("size", [1, (2, 3), (4, 7), (6, 1)])
def test_gradcheck(size: Any) -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((2, 2, 6, 5))
    assert gradcheck(lambda t: adaptive_avg_pool2d(t, size), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "size", "error", "message"),
    [
        (gpunn.zeros(4, 4), 1, ShapeError, r"expected x of shape \(N, C, H, W\)"),
        (gpunn.zeros(1, 1, 0, 4), 1, ShapeError, "no axis of 0 but N"),
        (gpunn.zeros(1, 1, 4, 4), 0, UsageError, "output_size: expected a positive integer or None, or two of them"),
        (gpunn.zeros(1, 1, 4, 4), (1, 2, 3), UsageError, r"got \(1, 2, 3\)"),
        (gpunn.zeros(1, 1, 4, 4, dtype=np.int64), 1, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adaptive_avg_pool2d(x, size)


def test_more_outputs_than_31_bits_of_places(kernels: str) -> None:
    """H P = 4.9e9: the kernels' windows are then found in 64 bits."""
    x = np.arange(70_000, dtype=np.float64).reshape(1, 1, 70_000, 1) % 7
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for where in ("cpu", kernels):
        t = gpunn.tensor(x, device=where, requires_grad=True)
        y = adaptive_avg_pool2d(t, (69_999, 1))
        (y * y).sum().backward() if where == "cpu" else y.backward(gpunn.tensor(2 * found[0][0], device=where))
        found.append((y.detach().numpy(), t.grad.numpy()))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-13)  # float64: a few roundings


def test_a_long_sum_of_one_thread_keeps_its_digits(kernels: str) -> None:
    """2048 equal numbers a thread: added one by one, every rounding may go the same way."""
    x = np.full((1, 128, 128, 128), 1000.1, np.float32)
    got = adaptive_avg_pool2d(gpunn.tensor(x, device=kernels), 1).numpy()
    # Sums of 32, 64 and 8 numbers: their roundings of 6e-8 do not all go one way.
    np.testing.assert_allclose(got, np.full((1, 128, 1, 1), x[0, 0, 0, 0], np.float64), rtol=1.5e-6)


@pytest.mark.parametrize("shape", [(2, 17, 19, 5), (2, 17, 19, 64), (1, 16, 16, 3), (1, 20, 18, 4100), (3, 40, 41, 1)])
def test_means_of_large_images(shape: tuple[int, ...]) -> None:
    """On the CPU images of more than 256 pixels are summed as fewer, longer rows, and what is left over."""
    from gpunn._device import device
    from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d_forward

    x = np.random.default_rng(2).random(shape, np.float32)
    y = adaptive_avg_pool2d_forward(device("cpu"), x, (1, 1))
    # Up to 1640 numbers between 0 and 1 in float32; one left out would change the mean by 3e-4.
    np.testing.assert_allclose(y, x.mean(axis=(1, 2), keepdims=True, dtype=np.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "enough", "each"),
    [((2, 7, 5, 8), 7, 16), ((2, 7, 5, 8), 28, 5), ((1, 3, 3, 3), 1 << 18, 1)],  # 35 pixels: the last part is shorter
)
def test_a_thread_writes_several_pixels_of_a_global_gradient(
    kernels: str, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], enough: int, each: int
) -> None:
    monkeypatch.setattr(windows, "_ENOUGH", enough)
    n, height, width, channels = shape
    dy = np.random.Generator(np.random.Philox(8)).standard_normal((n, 1, 1, channels)).astype(np.float32)
    with trace_launches() as launches:
        dx = call(adaptive_avg_pool2d_backward, kernels, dy=dy, height=height, width=width)
    (launch,) = launches
    assert launch.kernel == "adaptive_avg_pool2d_backward_global"
    pixels, parts = height * width, ceil_div(height * width, each)
    assert launch.args[3] == n * parts * channels // int(launch.macros["VEC"])
    np.testing.assert_allclose(dx, np.broadcast_to(dy / np.float32(pixels), shape), rtol=1.2e-7)  # two roundings
