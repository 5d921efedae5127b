"""Launches of the matrix products (``kernels/gemm.cu``, ``gemm_batched.cu``), split into tiles and slices."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn.gpu import tensor
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.gpu.tickets import COUNT, tickets

SOURCE = KernelSource("gemm.cu", REAL=("float", "double"), VEC=(1, 2, 4), TILE=(32, 64, 128))

BATCHED = KernelSource("gemm_batched.cu", REAL=("float", "double"), VEC=(1, 4), TILE=(32, 64, 128))

# gemm_tile.cuh: rows and columns of a block's tile, and its threads.
TILES = {128: (128, 128, 256), 64: (64, 64, 128), 32: (64, 32, 128)}

_AT_ONCE = {128: 2, 64: 2, 32: 4}  # blocks of a tile that an SM has room for, about

_WAVE = 132  # blocks that fill a large card once; a constant, so that every card computes the same bits

_LEAST_SLICE = 128  # a shorter slice of the reduction is not worth adding up

_TICKETS = 16  # of each tile (gemm_tile.cuh)


def choose_tile(rows: int, columns: int, groups: int = 1) -> int:
    """The largest tile that still gives two waves of blocks, or the smallest that fits the columns."""
    if columns <= 32:
        return 32
    blocks = ceil_div(rows, 128) * ceil_div(columns, 128) * groups
    return 128 if columns > 64 and blocks >= 2 * _WAVE else 64


def count_tiles(rows: int, columns: int, tile: int) -> int:
    """How many tiles a matrix has."""
    return ceil_div(columns, TILES[tile][1]) * ceil_div(rows, TILES[tile][0])


def at_once(blocks: int, tile: int) -> bool:
    """Whether a large card has room for all blocks at the same time."""
    return blocks <= _WAVE * _AT_ONCE[tile]


def choose_slices(rows: int, columns: int, depth: int, tile: int, groups: int = 1) -> int:
    """How many slices to split the reduction into so that about one wave of blocks is at work."""
    blocks = max(1, count_tiles(rows, columns, tile) * groups)
    return max(1, min(ceil_div(_WAVE, blocks), depth // _LEAST_SLICE))


def split_buffers(device: Device, dtype: Any, tiles: int, slices: int, tile: int) -> tuple[Any, Any]:
    """Partial sums of a split reduction for its last block to add, and the tickets that identify that block."""
    if slices == 1:
        return None, None
    rows, columns, _ = TILES[tile]
    assert tiles * _TICKETS <= COUNT, "only fewer tiles than a wave are split"
    return device.empty((tiles, slices, rows * columns + rows), dtype), tickets(device)


def launch_gemm(
    device: Device,
    form: str,
    sizes: tuple[int, int, int],
    outputs: tuple[Any, ...],
    inputs: tuple[Any, ...],
    scalars: tuple[int, ...] = (),
) -> None:
    """Launch a product of this form with M, N and K; the arrays are those of its signature in ``gemm.cu``."""
    m, n, k = sizes
    plain = form != "tn" or (inputs[1] is None and all(output is None for output in outputs[1:]))
    if plain and tensor.takes(device, outputs[0].dtype, sizes, *inputs):  # nothing but a product
        a, b, rest = (inputs[0], inputs[2], ()) if form == "tn" else (*inputs[:2], inputs[2:])
        tensor.launch(device, form, sizes, outputs[0], a, b, rest, *scalars)
        return
    tile = choose_tile(m, n)
    slices = choose_slices(m, n, k, tile)
    tiles = count_tiles(m, n, tile)
    args = (*outputs, *split_buffers(device, outputs[0].dtype, tiles, slices, tile), *inputs, m, n, k, *scalars)
    _launch(device, f"gemm_{form}", args, (tiles, 1, slices), tile, (*inputs, *outputs[1:]))


def _launch(
    device: Device, kernel: str, args: tuple[Any, ...], grid: tuple[int, int, int], tile: int, operands: tuple[Any, ...]
) -> None:
    # A vector runs along the contiguous axis of each operand.
    matrices = [array for array in operands if array is not None and array.ndim == 2]
    vec = min(vector_width(array.shape[1], array, widths=(4, 2, 1)) for array in matrices)
    macros: dict[str, Any] = {"REAL": c_type(args[0].dtype, "gemm"), "VEC": vec, "TILE": tile}
    SOURCE.launch(device, kernel, grid, TILES[tile][2], args, **macros)


def launch_gemm_backward(
    device: Device, dy: Any, y: Any, x: Any, weight: Any, wants_sums: bool, more: Any
) -> tuple[Any, Any, Any] | None:
    """Launch the gradients (dx, dweight, sums or None) of x weight^T at once, or return None where that does not pay.

    dy, y (K, M), y None without a ReLU; x (K, N), weight (M, N); dx is added to ``more`` (K, N), unless that is None.
    """
    (k, m), n = dy.shape, x.shape[1]
    if tensor.takes(device, x.dtype, (m, n, k), dy, x):
        return None  # they read plain matrices
    tile = min(choose_tile(m, n), choose_tile(k, n))
    tiles, dx_tiles = count_tiles(m, n, tile), count_tiles(k, n, tile)
    slices = choose_slices(m, n, k, tile)
    # dx's tickets follow those of dweight's tiles; if none are left, those tiles fill the card.
    dx_slices = choose_slices(k, n, m, tile) if (tiles + dx_tiles) * _TICKETS <= COUNT else 1
    # A large product of dx alone has registers for another block on an SM, and reads dz instead of dy and y.
    if max(choose_tile(m, n), choose_tile(k, n)) == 128 or not at_once(dx_tiles * dx_slices, tile):
        return None
    dweight, dx = device.empty(weight.shape, x.dtype), device.empty(x.shape, x.dtype)
    sums = device.empty((m,), x.dtype) if wants_sums else None
    partial, drawn = split_buffers(device, x.dtype, tiles, slices, tile)
    dx_partial, dx_drawn = split_buffers(device, x.dtype, dx_tiles, dx_slices, tile)
    buffers = (partial, dx_partial, dx_drawn if drawn is None else drawn)
    inputs = (dy, y, x, weight, more)
    args = (dweight, sums, dx, *buffers, *inputs, m, n, k, slices, dx_slices)
    grid = (tiles * slices + dx_tiles * dx_slices, 1, 1)
    _launch(device, "gemm_backward", args, grid, tile, inputs)
    return dx, dweight, sums
