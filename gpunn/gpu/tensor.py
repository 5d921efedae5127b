"""Which products tensor cores compute, and their launches (``kernels/gemm_tensor.cu``)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._precision import MODES, chosen
from gpunn.gpu.choices import Way, best
from gpunn.gpu.launcher import KernelSource, ceil_div, vector_width
from gpunn.gpu.tickets import COUNT, tickets

# mma_tile.cuh: rows and columns of a block's tile; its threads; three stages of a step of the reduction, 4 bytes each.
TILE = 128
THREADS = 128
STEP = 32
SHARED = 2 * TILE * STEP * 3 * 4
_STATIC = 1024  # shared memory for the kernel's own variables, and what CUDA takes

SOURCE = KernelSource(
    "gemm_tensor.cu",
    architectures=(80, 86, 89, 90, 100, 120),
    dynamic_shared={f"gemm_tensor_{form}": SHARED for form in ("nt", "nn", "tn")},
    REAL=("float",),
    MODE=tuple(mode for mode in MODES.values() if mode is not None),
)

MOST_SLICES = 240  # tensor_walk.cuh
_FAN = 16
_EXTRA = 512  # about as much of a reduction takes the time that leaving and adding up a slice does
_LEAST_SLICE = 256  # a shorter slice is not worth adding up
AT_ONCE = 2  # blocks of these tiles that an SM holds

LEAST = 2**24  # multiplications; a smaller product takes as long as its launch either way
_NARROWEST = 65  # rows or columns: fewer leave half of a tile unused, and FFMA has smaller tiles
_DEEPEST = 2**23 - 1  # the kernel counts the bytes of 128 rows in 32 bits
_TALLEST = 65535 * TILE  # rows: of tiles down, a grid has so many at most
_WAVE = 132  # as in gpu.gemm: blocks that fill a large card, the same on all
_TICKETS = 16  # of each tile


def takes(device: Device, dtype: Any, sizes: tuple[int, int, int], *operands: Any) -> bool:
    """Whether the present precision has tensor cores compute a product of M, N and K with these operands.

    Rows that are no whole vectors of 4 are left to FFMA, and so not rounded: copies of single numbers would need more
    registers than there are.
    """
    m, n, k = sizes
    if MODES[chosen.name] is None or dtype != np.float32 or m * n * k < LEAST:
        return False
    if min(m, n) < _NARROWEST or k > _DEEPEST or m > _TALLEST or not has_tensor_cores(device):
        return False
    return all(vector_width(x.shape[1], x) == 4 for x in operands if x is not None and x.ndim == 2)


@functools.cache
def has_tensor_cores(device: Device) -> bool:
    """Whether this GPU multiplies tf32 and bf16 (sm_80 and later), and has shared memory for it. The emulator has."""
    if device.name == "emulator":
        return True
    with device.active():
        card = device.xp.cuda.Device()
        capability, shared = int(card.compute_capability), card.attributes["MaxSharedMemoryPerBlockOptin"]
    return capability >= min(SOURCE.architectures) and int(shared) >= SHARED + _STATIC


@functools.lru_cache(maxsize=1024)
def choose_slices(tiles: int, k: int, at_once: int) -> int:
    """Into how many slices to split each tile's reduction: the SM with the most blocks should have least to do.

    An SM holds ``at_once`` blocks.
    """

    def cost(slices: int) -> int:
        blocks = max(ceil_div(tiles * slices, _WAVE), at_once)  # with fewer, an SM is not busy
        return blocks * (ceil_div(k, slices) + _EXTRA)

    return min((s for s in range(1, MOST_SLICES + 1) if _may_split(tiles, k, s)), key=cost, default=1)


def _may_split(tiles: int, k: int, slices: int) -> bool:
    """Whether slices are long enough, and there are tickets for the tiles."""
    return slices <= min(MOST_SLICES, k // _LEAST_SLICE) and tiles * (_TICKETS if slices > _FAN else 1) <= COUNT


def slices_around(tiles: int, k: int, at_once: int) -> list[int]:
    """How many slices may be tried: :func:`choose_slices`, half of that, twice, none."""
    rule = choose_slices(tiles, k, at_once)
    return [s for s in sorted({1, rule // 2, rule, 2 * rule} - {0}) if s == 1 or _may_split(tiles, k, s)]


def ways_of(tiles: int, k: int, at_once: int) -> list[Way]:
    """The same, as what a launch of float32 may choose."""
    return [(slices,) for slices in slices_around(tiles, k, at_once)]


def launch(
    device: Device, form: str, sizes: tuple[int, int, int], c: Any, a: Any, b: Any, rest: tuple[Any, ...], relu: int = 0
) -> None:
    """Launch a product of this form; ``rest``: "nt" (bias,), "nn" (more,), "tn" ()."""
    m, n, k = sizes
    across, down = ceil_div(n, TILE), ceil_div(m, TILE)
    tiles = across * down
    mode = MODES[chosen.name]

    def run(way: Way) -> None:
        (slices,) = way
        buffers: tuple[Any, Any] = None, None
        if slices > 1:
            buffers = device.empty((tiles, slices, TILE * TILE), c.dtype), tickets(device)
        args = (c, *buffers, a, b, *rest, m, n, k, *((relu,) if form == "nt" else ()))
        grid = across, down, slices
        SOURCE.launch(device, f"gemm_tensor_{form}", grid, THREADS, args, shared=SHARED, REAL="float", MODE=mode)

    rule, others = (choose_slices(tiles, k, AT_ONCE),), lambda: ways_of(tiles, k, AT_ONCE)
    best(device, SOURCE, f"gemm_tensor_{form}", (*sizes, str(mode)), rule, others, run)
