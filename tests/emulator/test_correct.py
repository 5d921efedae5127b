"""Correct kernels must run, in every order, without a finding and with NumPy's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gpunn.emulator import Argument, Module, available, compile_module, schedule
from tests.emulator.sources import read_kernels

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

rng = np.random.default_rng(0)


@pytest.fixture(params=["forward", "reverse", "shuffled:1", "shuffled:2"], autouse=True)
def order(request: pytest.FixtureRequest) -> Iterator[None]:
    name, _, seed = request.param.partition(":")
    with schedule(name, int(seed or 0)):
        yield


def module(name: str) -> Module:
    path = Path(__file__).parent / "correct" / f"{name}.cu"
    return compile_module(read_kernels(path), path.name, {})


Value = np.ndarray | np.generic
Shape = int | tuple[int, int, int]


def launch(name: str, grid: Shape, block: Shape, *values: Value | tuple[str, Value], shared: int = 0) -> None:
    """Launch "file.kernel"; each of ``values`` is (access, value), or a value that is only read."""
    file, kernel = name.split(".")
    arguments = []
    for i, item in enumerate(values):
        access, value = item if isinstance(item, tuple) else ("in", item)
        arguments.append(Argument(value, access, f"argument {i}"))
    shapes = [n if isinstance(n, tuple) else (n, 1, 1) for n in (grid, block)]
    module(file).launch(kernel, shapes[0], shapes[1], arguments, shared)


def integers(*shape: int) -> np.ndarray:
    """Return float32 integers: sums of them do not depend on the order."""
    return rng.integers(-9, 10, shape).astype(np.float32)


def test_sum_by_shuffles() -> None:
    x, y = integers(2, 64), np.empty(4, np.float32)
    launch("reductions.warp_rows", 2, 64, ("out", y), x)
    np.testing.assert_array_equal(y, x.reshape(4, 32).sum(1))


def test_sum_in_two_stages_twice() -> None:
    x, mean, var = integers(3, 128), np.empty(3, np.float32), np.empty(3, np.float32)
    x[:, 0] -= x.sum(1) % 128  # so that the mean is an integer, and everything exact
    launch("reductions.block_moments", 3, 128, ("out", mean), ("out", var), x)
    np.testing.assert_array_equal(mean, x.mean(1))
    np.testing.assert_array_equal(var, x.var(1))


def test_sum_as_a_tree_in_dynamic_shared_memory() -> None:
    x, y = integers(3, 128), np.empty(3, np.float32)
    launch("reductions.tree", 3, 128, ("out", y), x, shared=512)
    np.testing.assert_array_equal(y, x.sum(1))


def test_last_block() -> None:
    x, y, partial, counter = integers(9, 64), np.empty(1, np.float32), np.empty(9, np.float32), np.zeros(1, np.uint32)
    for _ in range(2):
        launch("reductions.last_block", 9, 64, ("out", y), ("out", partial), ("inout", counter), x)
        np.testing.assert_array_equal(y, x.sum())
        assert counter[0] == 0


@pytest.mark.parametrize("own_fence", [0, 1])
def test_last_block_with_many_writers(own_fence: int) -> None:
    x, y, partial = integers(5, 64), np.empty(64, np.float32), np.empty((5, 64), np.float32)
    counter = np.zeros(1, np.uint32)
    arguments = [("out", y), ("out", partial), ("inout", counter), x, np.int32(own_fence)]
    launch("reductions.last_block_columns", 5, 64, *arguments)
    np.testing.assert_array_equal(y, 2 * x.sum(0))


@pytest.mark.parametrize("kernel", ["matmul", "matmul_double_buffered"])
def test_matmul_in_tiles(kernel: str) -> None:
    n = 40
    a, b, c = integers(n, n), integers(n, n), np.empty((n, n), np.float32)
    launch(f"tiles.{kernel}", (3, 3, 1), (16, 16, 1), ("out", c), a, b, np.int32(n))
    np.testing.assert_array_equal(c, a @ b)


def test_transpose_without_block_barriers() -> None:
    x, y = integers(8, 32, 32), np.empty((8, 32, 32), np.float32)
    launch("tiles.transpose_in_warps", 2, (32, 4, 1), ("out", y), x)
    np.testing.assert_array_equal(y, x.transpose(0, 2, 1))


def test_reads_before_a_write_in_the_same_warp() -> None:
    x, y = integers(32), np.empty(32, np.float32)
    launch("warps.broadcast_then_change", 1, 32, ("out", y), x)
    np.testing.assert_array_equal(y, np.full(32, np.cumsum(x)[:-1].sum()))


def test_syncwarp_of_half_warps() -> None:
    x, y = integers(32), np.empty(32, np.float32)
    launch("warps.half_warps", 1, 32, ("out", y), x)
    np.testing.assert_array_equal(y, x[np.arange(32) ^ 21 ^ 5])


def test_syncwarp_orders_transitively() -> None:
    x, y = integers(32), np.empty(32, np.float32)
    launch("warps.relay", 1, 32, ("out", y), x)
    np.testing.assert_array_equal(y, np.full(32, x[0] + 1))


def test_shuffles_and_votes() -> None:
    x, y, z = integers(32), np.empty((6, 32), np.float32), np.empty((5, 32), np.uint64)
    launch("warps.shuffles", 1, 32, ("out", y), x, ("out", z))
    lane = np.arange(32)
    sources = [
        31 - lane,
        np.where(lane >= 3, lane - 3, lane),
        np.where(lane % 8 + 5 < 8, lane + 5, lane),
        lane ^ 6,
        lane // 8 * 8 + 2,
        np.where(lane % 16 >= 1, lane - 1, lane),
    ]
    for row, source in zip(y, sources, strict=True):
        np.testing.assert_array_equal(row, x[source])
    np.testing.assert_array_equal(z[0], (1 << 40) + (lane ^ 1))
    np.testing.assert_array_equal(z[1], sum(1 << i for i in range(0, 32, 3)))
    np.testing.assert_array_equal(z[2], 1)
    np.testing.assert_array_equal(z[3], np.where(lane < 8, 0b10101010, 0))
    assert z[4].max() == 32


def test_block_votes() -> None:
    x, y = np.arange(64, dtype=np.int32), np.empty((3, 64), np.int32)
    launch("warps.votes", 1, 64, ("out", y), x)
    np.testing.assert_array_equal(y, [[1] * 64, [1] * 64, [32] * 64])


def test_block_that_ends_within_a_warp() -> None:
    x, y = integers(40), np.empty(40, np.float32)
    launch("warps.short_warp", 1, 40, ("out", y), x)
    i = np.arange(40)
    np.testing.assert_array_equal(y, x[np.where(i < 32, i ^ 1, i)])


def test_vector_copies() -> None:
    x, y = integers(500), np.empty(500, np.float32)
    launch("memory.copy_float4", 2, 64, ("out", y), x, np.int32(500))
    np.testing.assert_array_equal(y, x)
    pixels, y = rng.integers(0, 256, 256, np.uint8), np.empty(256, np.float32)
    launch("memory.normalise_uchar4", 2, 32, ("out", y), pixels)
    np.testing.assert_array_equal(y, pixels / np.float32(255))


def test_neighbouring_bytes_are_not_one_element() -> None:
    x, y = rng.random(64, np.float32), np.empty(64, np.uint8)
    launch("memory.threshold", 1, 64, ("out", y), x)
    bits = (x > 0.5).astype(np.uint8)
    np.testing.assert_array_equal(y, bits[::-1] + bits[np.arange(64) ^ 1])


@pytest.mark.parametrize("access", ["out", "inout"])
def test_one_array_as_input_and_output(access: str) -> None:
    x = integers(100)
    expected = np.maximum(x, 0)
    launch("memory.relu_in_place", 1, 128, (access, x), x, np.int32(100))
    np.testing.assert_array_equal(x, expected)


def test_views_of_one_buffer_that_overlap() -> None:
    # Parameters often are views of one flat array: what is written is only part of what is passed.
    flat = integers(100)
    expected = flat.copy()
    expected[10:30] = np.maximum(flat[60:80], 0)
    launch("memory.relu_in_place", 1, 32, ("inout", flat[10:70]), flat[60:], np.int32(20))
    np.testing.assert_array_equal(flat, expected)


def test_atomics() -> None:
    x, counts = rng.integers(0, 256, 300, np.uint8), np.zeros(16, np.uint32)
    launch("memory.histogram", 5, 64, ("inout", counts), x, np.int32(300))
    np.testing.assert_array_equal(counts, np.bincount(x % 16, minlength=16))


def test_constant_table() -> None:
    x, y = integers(64), np.empty(64, np.float32)
    launch("memory.smooth", 1, 64, ("out", y), x, np.int32(64), shared=66 * 4)
    padded = np.pad(x, 1)
    np.testing.assert_array_equal(y, 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


def test_arguments_by_value() -> None:
    x, y = integers(32), np.empty(32, np.float32)
    scale = np.zeros(1, np.dtype([("factor", "f4"), ("steps", "i4")]))
    scale[0] = (2.0, 3)
    scalars = [scale[0], np.bool_(True), np.float64(0.5), np.uint8(7)]
    launch("memory.by_value", 1, 32, ("out", y), x, *scalars)
    np.testing.assert_array_equal(y, -8 * x + 7.5)


def test_built_in_functions() -> None:
    y, z = np.empty(11, np.int64), np.empty(5, np.float64)
    launch("memory.intrinsics", (1, 1, 1), (1, 1, 1), ("out", y), ("out", z))
    np.testing.assert_array_equal(y, [8, 4, 31, 3, 5, 0x3F800000, 14, 321111, 16041616, 1, 0x77662255])
    np.testing.assert_allclose(z, [0.5, np.e, 1 / 3, 2.75, 10], rtol=1e-7)
