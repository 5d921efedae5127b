"""The ladders of kernels: every rung is right at any size, and every barrier in them is necessary."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from gpunn import device
from gpunn.bench.ladder import CONV2D, MATMUL, PUBLISHED, SOURCES, Ladder, Rung, climb
from gpunn.emulator import EmulatorFinding
from gpunn.errors import DeviceError
from gpunn.gpu.launcher import KernelSource

# Around the tiles' sides, 16 and 64: less than one, a whole one, a little more. (M, N, K)
PRODUCTS = [(1, 1, 1), (16, 64, 16), (17, 65, 33), (70, 15, 7)]
# The same around its sides, 32, 64 and 128; K and N are multiples of 4.
PUBLISHED_PRODUCTS = [(1, 4, 4), (33, 68, 20), (130, 132, 36)]
# (N, H, W, C, K, R, S, padding)
CONVOLUTIONS = [
    (1, 3, 3, 1, 1, 3, 3, 0),
    (2, 5, 7, 3, 17, 3, 2, 1),
    (1, 8, 8, 16, 64, 1, 1, 0),
    (3, 5, 5, 2, 65, 5, 5, 2),
]


def _product(m: int, n: int, k: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    return a, b, a.astype(np.float64) @ b


def _convolution(n: int, h: int, w: int, c: int, k: int, r: int, s: int, padding: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, h, w, c)).astype(np.float32)
    weight = rng.standard_normal((k, r, s, c)).astype(np.float32)
    wide = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (r, s), (1, 2))  # (N, P, Q, C, R, S)
    return x, weight, np.einsum("npqcrs,krsc->npqk", windows, weight)


def _host(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else array.get()


def _same(got: Any, expected: Any, terms: int) -> None:
    # Each product and each sum rounds once; numbers are around 1, and sums of that many terms around their root.
    np.testing.assert_allclose(got, expected, rtol=0, atol=terms * 4 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("sizes", PRODUCTS)
@pytest.mark.parametrize("rung", MATMUL.rungs, ids=lambda rung: rung.kernel)
def test_every_rung_multiplies(rung: Rung, sizes: tuple[int, ...], kernels: str) -> None:
    a, b, expected = _product(*sizes)
    where = device(kernels)
    with where.active():
        got = MATMUL.launch(where, rung, where.xp.asarray(a), where.xp.asarray(b))
    _same(_host(got), expected, sizes[2])


@pytest.mark.parametrize("sizes", PUBLISHED_PRODUCTS)
@pytest.mark.parametrize("rung", PUBLISHED.rungs[:-1], ids=lambda rung: rung.kernel)
def test_every_published_rung_multiplies(rung: Rung, sizes: tuple[int, ...], kernels: str) -> None:
    a, b, expected = _product(*sizes)
    where = device(kernels)
    with where.active():
        got = PUBLISHED.launch(where, rung, where.xp.asarray(a), where.xp.asarray(b))
    _same(_host(got), expected, sizes[2])


@pytest.mark.parametrize("sizes", CONVOLUTIONS)
@pytest.mark.parametrize("rung", CONV2D.rungs, ids=lambda rung: rung.kernel)
def test_every_rung_convolves(rung: Rung, sizes: tuple[int, ...], kernels: str) -> None:
    x, weight, expected = _convolution(*sizes)
    where = device(kernels)
    with where.active():
        got = CONV2D.launch(where, rung, where.xp.asarray(x), where.xp.asarray(weight), sizes[-1])
    _same(_host(got), expected, weight[0].size)


def _problem(name: str) -> tuple[Ladder, tuple[Any, ...], Any]:
    """Sizes that take more than one step along the reduction, and the shipped kernel with vectors."""
    if name == "published":
        *given, expected = _product(20, 36, 36)
        return PUBLISHED, tuple(given), expected
    if name == "matmul":
        *given, expected = _product(20, 36, 20)
        return MATMUL, tuple(given), expected
    *given, expected = _convolution(1, 5, 5, 16, 64, 3, 3, 1)
    return CONV2D, (*given, 1), expected


def _launch_all(ladder: Ladder, given: tuple[Any, ...]) -> None:
    for rung in ladder.rungs[:-1]:
        ladder.launch(device("emulator"), rung, *given)


@pytest.mark.emulator
@pytest.mark.parametrize("name", SOURCES)
def test_every_barrier_is_necessary(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is taken out in turn, and the emulator finds what that breaks."""
    monkeypatch.setattr(KernelSource, "registry", {})  # which other tests compare with the folder
    ladder, given, _ = _problem(name)
    source = SOURCES[name]
    barriers = list(re.finditer(r"__syncthreads\(\);", source.text.partition("enum { SIDE")[2]))
    # Two for each way to use tiles; published_staged has one before its loop.
    assert len(barriers) == (12 if name == "published" else 4)
    for barrier in barriers:
        without = KernelSource("without.cu", REAL=("float",))
        head, mark, body = source.text.partition("enum { SIDE")
        without.__dict__["text"] = head + mark + body[: barrier.start()] + body[barrier.end() :]
        monkeypatch.setitem(SOURCES, name, without)
        with pytest.raises(EmulatorFinding, match=r"race|nobody has written"):
            _launch_all(ladder, given)


@pytest.mark.parametrize("name", SOURCES)
def test_a_climb_counts_and_on_a_gpu_times(name: str, kernels: str) -> None:
    ladder, given, expected = _problem(name)
    steps = climb(ladder, given, expected, kernels)
    assert [step.kernel for step in steps] == [rung.kernel for rung in ladder.rungs]
    for step in steps:
        assert step.error < 1e-4
        assert step.instructions >= step.global_instructions > 0
        assert step.sectors >= expected.size * 4 / 32  # the result alone
        assert (step.ms is None) == (kernels == "emulator")
        assert step.ms is None or step.ms > 0
        assert f"{step.sectors:,} sectors" in str(step)


def test_without_a_compiler_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpunn.emulator.available", lambda: "g++ was not found: apt install g++")
    ladder, given, expected = _problem("matmul")
    with pytest.raises(DeviceError, match=r"device 'emulator': g\+\+ was not found"):
        climb(ladder, given, expected)
