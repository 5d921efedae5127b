"""Launches of matrix products: by which tile and slices, how wide their vectors are, and how many tickets they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn._device import device
from gpunn.gpu import gemm, tensor
from gpunn.gpu.choices import Way
from gpunn.gpu.launcher import Launch, trace_launches
from gpunn.ops.linear import linear_backward
from gpunn.ops.matmul import gemm as product
from gpunn.ops.matmul import matmul_batched
from tests.convolutions import numbers as _numbers
from tests.convolutions import on as _on
from tests.devices import host
from tests.traces import dry_launches


def _between_vectors(where: Any, array: np.ndarray, skipped: int) -> Any:
    """The same on a device, ``skipped`` numbers after the beginning of a vector."""
    return where.array(np.concatenate([np.zeros(skipped, array.dtype), array.reshape(-1)]))[skipped:].reshape(
        array.shape
    )


def _gradients(rows: int, m: int, n: int, relu: bool = False) -> list[Launch]:
    """What the gradients of a layer of ``n`` features to ``m`` launch."""
    where = device("emulator")
    dy, y, x, weight = _on(where, *(np.zeros(s, np.float32) for s in ((rows, m), (rows, m), (rows, n), (m, n))))
    with dry_launches() as launches:
        linear_backward(where, dy, y if relu else None, x, weight, (True, True, False))
    return launches


# -- tiles and slices -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "m", "n", "way"),
    [
        (2048, 8, 256, (64, 16, 1)),  # few blocks: the tile whose SMs are busy with least
        (128, 300, 1024, (64, 1, 2)),  # two for some SMs: the large tile's blocks are fewer
        (64, 84, 120, (32, 1, 1)),
        (50176, 256, 1024, gemm.APART),
    ],
)
def test_two_products_share_the_tile_by_which_both_take_least(rows: int, m: int, n: int, way: Way) -> None:
    assert gemm.choose_shared(((m, n, rows, 1, 240), (rows, n, m, 1, 240))) == way


def test_slices_of_one_wave_may_be_shorter() -> None:
    def may(tiles: int, depth: int, groups: int = 1) -> bool:
        return gemm._may_split(64 * tiles, 64, depth, groups, (64, 2))

    assert may(66, 256)
    assert may(33, 256, 2)
    assert not may(67, 256)
    assert not may(34, 256, 2)
    assert may(67, 512)
    assert not may(67, 511)
    assert not may(66, 255)
    assert may(256, 512)
    assert not may(257, 512)  # there are no more tickets
    assert not gemm._may_split(64, 64, 9000, 1, (128, 2))


@pytest.mark.emulator
def test_a_layers_gradients_take_one_launch_while_a_card_has_room_for_those_of_x() -> None:
    assert [launch.kernel for launch in _gradients(1408, 64, 768)] == ["gemm_backward"]  # 264 blocks
    assert [launch.kernel for launch in _gradients(1216, 64, 896)] == ["gemm_tn", "gemm_nn"]  # 266


@pytest.mark.emulator
def test_the_gradient_of_x_is_split_while_there_are_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "best", lambda *given: given[-1]((32, 1, 2)))
    (launch,) = _gradients(960, 64, 512)  # 240 tiles of dx, 16 of dweight
    assert launch.grid == (16 + 240 * 2, 1, 1)
    assert launch.args[-2:] == [1, 2]
    (launch,) = _gradients(960, 65, 512)
    assert launch.grid == (32 + 240, 1, 1)
    assert launch.args[-2:] == [1, 1]


def test_a_way_that_is_given_is_taken(kernels: str) -> None:
    where = device(kernels)
    a, b = _numbers(70, 96), _numbers(96, 40, seed=1)
    for tile, slices in ((64, 1), (32, 3), (128, 1)):
        c = where.empty((70, 40), np.dtype(np.float32))
        with trace_launches() as launches:
            gemm.launch_gemm(where, "nn", (70, 40, 96), (c,), (*_on(where, a, b), None), way=(tile, slices))
        tiles = gemm.count_tiles(70, 40, tile)
        assert [(launch.macros["TILE"], launch.grid) for launch in launches] == [(str(tile), (tiles, 1, slices))]
        np.testing.assert_allclose(host(c), a @ b, atol=3e-5)


@pytest.mark.emulator
def test_what_the_time_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def best(where: Any, source: Any, kernel: str, facts: Any, rule: Way, others: Callable[[], Any], run: Any) -> Any:
        asked.append((kernel, facts))
        return run(rule)

    monkeypatch.setattr(gemm, "best", best)
    for relu in (False, True):
        _gradients(5, 6, 8, relu)
    _gradients(5, 8, 7)
    where = device("emulator")
    with dry_launches():
        product(where, *_on(where, _numbers(5, 8), _numbers(12, 8)), "nt")
    assert asked == [
        *(("gemm_backward", (6, 8, 5, "float32", 2, relu)) for relu in (0, 1)),
        ("gemm_backward", (8, 7, 5, "float32", 1, 0)),
        ("gemm_nt", (5, 12, 8, "float32", 4)),
    ]


# -- vectors --------------------------------------------------------------------------------------


def test_vectors_are_as_wide_as_all_operands_allow(kernels: str) -> None:
    where = device(kernels)

    def width(m: int, n: int, k: int, skipped: tuple[int, int] = (0, 0)) -> str:
        a, b = _numbers(m, k), _numbers(k, n, seed=1)
        given = (_between_vectors(where, x, by) for x, by in zip((a, b), skipped, strict=True))
        with trace_launches() as launches:
            c = product(where, *given, "nn")
        np.testing.assert_allclose(host(c), a @ b, atol=1e-5)
        return launches[0].macros["VEC"]

    assert width(5, 12, 8) == "4"
    assert width(5, 12, 6) == "2"
    assert width(5, 14, 8) == "2"
    assert width(5, 12, 7) == "1"
    assert width(5, 13, 8) == "1"
    assert [width(5, 12, 8, (by, 0)) for by in (1, 2, 4)] == ["1", "2", "4"]
    assert [width(5, 12, 8, (0, by)) for by in (1, 2, 4)] == ["1", "2", "4"]


def test_vectors_of_many_products_at_once(kernels: str) -> None:
    where = device(kernels)

    def width(n: int, k: int, skipped: tuple[int, int] = (0, 0)) -> str:
        a, b = _numbers(3, 5, k), _numbers(3, k, n, seed=1)
        given = (_between_vectors(where, x, by) for x, by in zip((a, b), skipped, strict=True))
        with trace_launches() as launches:
            c = matmul_batched(where, *given, "nn")
        np.testing.assert_allclose(host(c), a @ b, atol=1e-5)
        return launches[0].macros["VEC"]

    assert width(12, 8) == "4"
    assert width(12, 6) == "1"
    assert width(14, 8) == "1"
    assert [width(12, 8, skipped) for skipped in ((1, 0), (0, 2), (4, 4))] == ["1", "1", "4"]


# -- tensor cores ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gated", [False, True])
def test_tensor_cores_are_left_products_alone(kernels: str, monkeypatch: pytest.MonkeyPatch, gated: bool) -> None:
    """A product that also adds up columns, or masks them, is none."""
    where = device(kernels)
    monkeypatch.setattr(tensor, "LEAST", 0)
    monkeypatch.setattr(tensor, "_NARROWEST", 1)
    dy, y, x = _numbers(40, 36), _numbers(40, 36, seed=1), _numbers(40, 32, seed=2)
    there = dy, y if gated else None, x
    dz = dy * (y > 0) if gated else dy
    dweight, sums = (where.empty(shape, np.dtype(np.float32)) for shape in ((36, 32), (36,)))

    def launched(*outputs: Any) -> list[str]:
        with trace_launches() as launches:
            gemm.launch_gemm(where, "tn", (36, 32, 40), outputs, tuple(_on(where, *there)))
        np.testing.assert_allclose(host(outputs[0]), dz.T @ x, atol=0.1)
        return [launch.kernel for launch in launches]

    try:
        gpunn.set_precision("tf32")
        assert launched(dweight, sums, None) == ["gemm_tn"]
        np.testing.assert_allclose(host(sums), dz.sum(0), atol=1e-5)
        assert launched(dweight, None, None) == ["gemm_tn" if gated else "gemm_tensor_tn"]
    finally:
        gpunn.set_precision("fp32")
