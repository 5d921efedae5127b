"""The ladders of ``kernels/ladder``: one matrix product and one convolution, each written several times.

They are there to be read, counted and timed (``gpunn demo kernels``). The last rung of each is what layers launch, with
a tile of 64 x 64 whatever the size.
``PUBLISHED`` has products of the kinds that others published times of (`gpunn.bench.published`); its vectors want K and
N to be multiples of 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunn._device import Device, device
from gpunn._window import Window
from gpunn.gpu import conv2d as shipped_conv2d
from gpunn.gpu.emulated import EmulatorLoader
from gpunn.gpu.gemm import launch_gemm
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.gpu.streams import Event

FOLDER = "ladder"
SOURCES = {name: KernelSource(f"{FOLDER}/{name}.cu", REAL=("float",)) for name in ("matmul", "conv2d", "published")}
_SIZES = np.dtype([(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q", "pad")])


class Rung(NamedTuple):
    """One kernel of a ladder: its name in the file, what is new in it, outputs of a block along a side, its threads."""

    kernel: str
    idea: str
    tile: int = 16
    threads: int = 256


class Ladder(NamedTuple):
    """Some kernels that compute the same: ``launch(device, rung, *given)`` gives the result of one of ``rungs``.

    ``MATMUL`` and ``PUBLISHED`` are given a (M, K) and b (K, N); ``CONV2D`` x (N, H, W, C), weight (K, R, S, C) and the
    number of zeros on each side of the image. All arrays are float32.
    """

    launch: Callable[..., Any]
    rungs: tuple[Rung, ...]


def _matmul(where: Device, rung: Rung, a: Any, b: Any) -> Any:
    """The product of a (M, K) and b (K, N), float32 arrays of the device, by one rung."""
    (m, k), n = a.shape, b.shape[1]
    c = where.empty((m, n), a.dtype)
    if rung.kernel == "gemm_nn":
        launch_gemm(where, "nn", (m, n, k), (c,), (a, b, None), way=(64, 1))
        return c
    down, across = ceil_div(m, rung.tile), ceil_div(n, rung.tile)
    grid = (down, across, 1) if rung.kernel == "matmul_naive" else (across, down, 1)
    SOURCES["matmul"].launch(where, rung.kernel, grid, (16, 16, 1), (c, a, b, m, n, k), REAL="float")
    return c


def _conv2d(where: Device, rung: Rung, x: Any, weight: Any, padding: int) -> Any:
    """The convolution of x (N, H, W, C) with weight (K, R, S, C), float32, stride 1, by one rung."""
    (n, h, w, c), (k, r, s, _) = x.shape, weight.shape
    if rung.kernel == "conv2d_forward":
        window = Window(h, w, r, s, (1, 1), (padding, padding), (1, 1))
        return shipped_conv2d.forward(where, x, weight, window, 1, None, False, (64,))
    p, q = h + 2 * padding - r + 1, w + 2 * padding - s + 1
    y = where.empty((n, p, q, k), x.dtype)
    sizes = np.array([(n, h, w, c, k, r, s, p, q, padding)], _SIZES)
    grid = (ceil_div(k, rung.tile), ceil_div(n * p * q, rung.tile), 1)
    SOURCES["conv2d"].launch(where, rung.kernel, grid, (16, 16, 1), (y, x, weight, sizes), REAL="float")
    return y


def _published(where: Device, rung: Rung, a: Any, b: Any) -> Any:
    """The product of a (M, K) and b (K, N), float32 arrays of the device, by one rung of ``published.cu``."""
    (m, k), n = a.shape, b.shape[1]
    c = where.empty((m, n), a.dtype)
    if rung.kernel == "gemm_nn":
        launch_gemm(where, "nn", (m, n, k), (c,), (a, b, None))
        return c
    down, across = ceil_div(m, rung.tile), ceil_div(n, rung.tile)
    grid = (down, across, 1) if rung.kernel == "published_naive" else (across, down, 1)
    SOURCES["published"].launch(where, rung.kernel, grid, rung.threads, (c, a, b, m, n, k), REAL="float")
    return c


MATMUL = Ladder(
    _matmul,
    (
        Rung("matmul_naive", "one thread an output"),
        Rung("matmul_coalesced", "neighbours read neighbours"),
        Rung("matmul_tiled", "tiles in shared memory"),
        Rung("matmul_registers", "4×4 outputs a thread", 64),
        Rung("matmul_padded", "padded rows", 64),
        Rung("gemm_nn", "vectors: as shipped"),
    ),
)
PUBLISHED = Ladder(
    _published,
    (
        Rung("published_naive", "one thread an output", 32, 1024),
        Rung("published_coalesced", "neighbours read neighbours", 32, 1024),
        Rung("published_tiled", "tiles in shared memory", 32, 1024),
        Rung("published_column", "8 outputs a thread", 64, 512),
        Rung("published_square", "8×8 outputs a thread", 128, 256),
        Rung("published_vectors", "vectors", 128, 256),
        Rung("published_warps", "tiles of warps", 128, 128),
        Rung("published_staged", "the next tiles travel", 128, 128),
        Rung("gemm_nn", "as shipped", 128, 256),
    ),
)
CONV2D = Ladder(
    _conv2d,
    (
        Rung("conv2d_naive", "one thread an output"),
        Rung("conv2d_tiled", "tiles in shared memory"),
        Rung("conv2d_registers", "4×4 outputs a thread", 64),
        Rung("conv2d_forward", "vectors: as shipped"),
    ),
)


class Step(NamedTuple):
    """What one rung did on the emulator, and how long it took on a GPU.

    Attributes
    ----------
    kernel, idea : str
    sectors : int
        Pieces of 32 bytes that the warps fetched from global memory, or wrote there.
    global_instructions, shared_instructions : int
        Loads and stores that a warp made, of each kind of memory.
    conflicts : int
        Passes over the banks of shared memory beyond the fewest possible.
    error : float
        The largest difference from the right result, on the emulator or the GPU.
    ms : float or None
        Milliseconds of a launch; None without a GPU.
    """

    kernel: str
    idea: str
    sectors: int
    global_instructions: int
    shared_instructions: int
    conflicts: int
    error: float
    ms: float | None

    @property
    def instructions(self) -> int:
        """Loads and stores of both kinds."""
        return self.global_instructions + self.shared_instructions

    def __str__(self) -> str:
        parts = [
            f"{self.kernel} ({self.idea}): {self.sectors:,} sectors",
            f"{self.global_instructions:,} + {self.shared_instructions:,} loads and stores (global + shared)",
            f"{self.conflicts:,} bank conflicts",
            f"error {self.error:.0e}",
        ]
        return ", ".join(parts if self.ms is None else [*parts, f"{self.ms:.3f} ms"])


def climb(ladder: Ladder, given: Sequence[Any], truth: Any, name: str = "cpu") -> list[Step]:
    """Run each rung on the emulator, which counts, and where that is a GPU on the device of this name.

    Parameters
    ----------
    ladder : Ladder
        ``MATMUL`` or ``CONV2D``.
    given : sequence
        What it is given, in NumPy.
    truth : ndarray
        The right result.
    name : str
        A GPU times the launches.

    Raises
    ------
    DeviceError
        If the emulator or the device cannot be used here; the message says why.
    """
    from gpunn.emulator import counting

    emulator, home, steps = Device("emulator", np, EmulatorLoader(counting=True)), device(name), []
    for rung in ladder.rungs:
        with counting() as counts:
            result = ladder.launch(emulator, rung, *given)
        (count,) = counts.kernels.values()
        memory, shared = count.global_memory, count.shared_memory
        numbers = (memory.asked, memory.executions, shared.executions, count.bank_conflicts)
        error, ms = float(np.abs(result - truth).max()), None
        if home.type == "cuda":
            there, ms = _timed(home, ladder, rung, given)
            error = max(error, float(np.abs(there - truth).max()))
        steps.append(Step(rung.kernel, rung.idea, *numbers, error, ms))
    return steps


def _timed(gpu: Device, ladder: Ladder, rung: Rung, given: Sequence[Any], times: int = 20) -> tuple[Any, float]:
    """The result, in NumPy, and milliseconds by CUDA events around so many launches, after one that compiles."""
    with gpu.active():
        there = [gpu.xp.asarray(value) if isinstance(value, np.ndarray) else value for value in given]
        result = ladder.launch(gpu, rung, *there)
        begin, end = Event(enable_timing=True), Event(enable_timing=True)
        begin.record()
        for _ in range(times):
            ladder.launch(gpu, rung, *there)
        end.record()
        end.synchronize()
        return result.get(), begin.elapsed_time(end) / times
