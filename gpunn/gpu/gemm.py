"""Launches of the matrix products (``kernels/gemm.cu``, ``gemm_batched.cu``), split into tiles and slices."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpunn._device import Device
from gpunn.gpu import tensor
from gpunn.gpu.choices import Way, best
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.gpu.tickets import COUNT, tickets

SOURCE = KernelSource("gemm.cu", REAL=("float", "double"), VEC=(1, 2, 4), TILE=(32, 64, 128))

BATCHED = KernelSource("gemm_batched.cu", REAL=("float", "double"), VEC=(1, 4), TILE=(32, 64, 128))

# gemm_tile.cuh: rows and columns of a block's tile, and its threads.
TILES = {128: (128, 128, 256), 64: (64, 64, 128), 32: (64, 32, 128)}

_AT_ONCE = {128: 2, 64: 2, 32: 4}  # blocks of a tile that an SM has room for, about

# What an SM with one block takes at least, in blocks: with four warps, one for each scheduler, it computes at about 0.7
# of the speed it has with eight (bench.predict).
_BUSY = {128: 1, 64: 1.4, 32: 1.4}

# Of the rate of FMA that a large product reaches at best (bench.predict, H200).
_SPEED = {128: 0.88, 64: 0.79, 32: 0.53}

_WAVE = 132  # blocks that fill a large card once; a constant, so that every card computes the same bits

_MOST_SLICES = 240  # of a tile: 15 groups of 16, whose tickets and the last one are 16 (gemm_tile.cuh)

_LEAST_SLICE = 128  # a shorter slice of the reduction is not worth adding up; twice that beyond one wave

_NEARLY = 1.03  # of the least time: more slices for less are not worth the memory of their partial sums

_EXTRA = 32  # about as much of a reduction takes the time that leaving and adding up a slice does

_TICKETS = 16  # of each tile (gemm_tile.cuh)


def tiles_of(rows: int, columns: int) -> list[int]:
    """The tiles that such a matrix may have: none that is more than half empty where a smaller one would be less so."""
    return [128] * (rows > 64 and columns > 64) + [64] * (columns > 32) + [32]


def cost(rows: int, columns: int, depth: int, groups: int, way: Way) -> float:
    """How long the SM with the most blocks has to work, in multiplications that its cores could do meanwhile."""
    tile, slices = way
    down, across, _ = TILES[tile]
    blocks = max(ceil_div(count_tiles(rows, columns, tile) * groups * slices, _WAVE), _BUSY[tile])
    steps = depth if slices == 1 else ceil_div(depth, slices) + _EXTRA
    return blocks * steps * down * across / _SPEED[tile]


@functools.lru_cache(maxsize=4096)
def choose_tile(rows: int, columns: int, groups: int = 1) -> int:
    """The tile by which a product that is not split takes least."""
    return min(tiles_of(rows, columns), key=lambda tile: cost(rows, columns, 1, groups, (tile, 1)))


def count_tiles(rows: int, columns: int, tile: int) -> int:
    """How many tiles a matrix has."""
    return ceil_div(columns, TILES[tile][1]) * ceil_div(rows, TILES[tile][0])


def at_once(blocks: int, tile: int) -> bool:
    """Whether a large card has room for all blocks at the same time."""
    return blocks <= _WAVE * _AT_ONCE[tile]


def _may_split(rows: int, columns: int, depth: int, groups: int, way: Way) -> bool:
    """Whether its kernel can, slices are long enough, and there are tickets for the tiles."""
    tile, slices = way
    if tile == 128:  # adding up slices would take it too many registers
        return False
    blocks = count_tiles(rows, columns, tile) * groups
    least = _LEAST_SLICE if blocks * slices <= _WAVE else 2 * _LEAST_SLICE
    return slices <= depth // least and blocks * _TICKETS <= COUNT


@functools.lru_cache(maxsize=4096)
def choose_slices(rows: int, columns: int, depth: int, tile: int, groups: int = 1) -> int:
    """How many slices to split the reduction into: the SM with the most blocks should have least to do, nearly."""
    product = rows, columns, depth, groups
    ways = [(tile, slices) for slices in range(2, _MOST_SLICES + 1) if _may_split(*product, (tile, slices))]
    costs = {way: cost(*product, way) for way in ((tile, 1), *ways)}
    enough = _NEARLY * min(costs.values())
    return next(slices for (_, slices), cost in costs.items() if cost <= enough)


@functools.lru_cache(maxsize=4096)
def choose_split(rows: int, columns: int, depth: int, groups: int = 1) -> Way:
    """The (tile, slices) by which a product takes least."""
    ways = [(tile, choose_slices(rows, columns, depth, tile, groups)) for tile in tiles_of(rows, columns)]
    return min(ways, key=lambda way: cost(rows, columns, depth, groups, way))


Products = tuple[tuple[int, int, int, int, int], ...]  # of one launch: rows, columns, depth, groups, most slices

APART: Way = (0,)  # several products, each in a launch of its own

SHARED = ("gemm_backward", "conv2d_backward")  # kernels of several products, whose ways are a tile and slices of each


def _shared_way(tile: int, products: Products) -> Way:
    """(tile, slices of each): blocks of several products share the card, so none has to fill it alone."""
    blocks = [max(1, count_tiles(*one[:2], tile) * one[3]) for one in products]
    work = sum(number * one[2] for number, one in zip(blocks, products, strict=True))
    share = max(1, int(work / (_WAVE * _BUSY[tile])))  # a block's part, were there _BUSY of them on each SM
    slices = (
        min(
            max(1, ceil_div(depth, share)),
            *(most, ceil_div(_WAVE, number), choose_slices(rows, columns, depth, tile, groups)),
        )
        for number, (rows, columns, depth, groups, most) in zip(blocks, products, strict=True)
    )
    return tile, *slices


def _shared_cost(products: Products, way: Way) -> float:
    """Like :func:`cost`, of several products in one launch. The blocks of an SM are some of each."""
    tile, *each = way
    down, across, _ = TILES[tile]
    blocks = steps = 0
    for (rows, columns, depth, groups, _), slices in zip(products, each, strict=True):
        mine = count_tiles(rows, columns, tile) * groups * slices
        blocks += mine
        steps += mine * (ceil_div(depth, slices) + _EXTRA * (slices > 1))
    return max(ceil_div(blocks, _WAVE), _BUSY[tile]) * steps / max(1, blocks) * down * across / _SPEED[tile]


@functools.lru_cache(maxsize=4096)
def choose_shared(products: Products) -> Way:
    """The (tile, slices of each) by which they take least in one launch; ``APART`` where one needs the largest tile."""
    for *one, most in products:
        if (choose_split(*one)[0] if most > 1 else choose_tile(*one[:2], one[3])) == 128:
            return APART
    return min((_shared_way(tile, products) for tile in (64, 32)), key=lambda way: _shared_cost(products, way))


def shared_ways(products: Products) -> list[Way]:
    """The ways in which several products may be computed."""
    return [APART, *(_shared_way(tile, products) for tile in (64, 32))]


def ways_of(rows: int, columns: int, depth: int, groups: int = 1) -> list[Way]:
    """The (tile, slices) that such a product may be computed by: :func:`choose_slices`, half of that, twice, none."""
    ways: list[Way] = []
    for tile in tiles_of(rows, columns):
        by_rule = choose_slices(rows, columns, depth, tile, groups)
        ways += [
            (tile, slices)
            for slices in sorted({1, by_rule // 2, by_rule, 2 * by_rule} - {0})
            if slices == 1 or _may_split(rows, columns, depth, groups, (tile, slices))
        ]
    return ways


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
    way: Way | None = None,
) -> None:
    """Launch a product of this form with M, N and K; the arrays are those of its signature in ``gemm.cu``.

    ``way``: (tile, slices), to take no other.
    """
    m, n, k = sizes
    plain = form != "tn" or (inputs[1] is None and all(output is None for output in outputs[1:]))
    if plain and tensor.takes(device, outputs[0].dtype, sizes, *inputs):  # nothing but a product
        a, b, rest = (inputs[0], inputs[2], ()) if form == "tn" else (*inputs[:2], inputs[2:])
        tensor.launch(device, form, sizes, outputs[0], a, b, rest, *scalars)
        return
    vec, dtype = _vector(*inputs, *outputs[1:]), outputs[0].dtype

    def run(way: Way) -> None:
        tile, slices = way
        tiles = count_tiles(m, n, tile)
        args = (*outputs, *split_buffers(device, dtype, tiles, slices, tile), *inputs, m, n, k, *scalars)
        _launch(device, f"gemm_{form}", args, (tiles, 1, slices), tile, vec)

    if way is not None:
        run(way)
        return
    known = (m, n, k, dtype.name, vec)
    best(device, SOURCE, f"gemm_{form}", known, choose_split(m, n, k), lambda: ways_of(m, n, k), run)


def launch_batched(
    device: Device,
    form: str,
    c: Any,
    a: Any,
    b: Any,
    sizes: tuple[int, int, int],
    steps: tuple[int, int],
    tile: int,
) -> None:
    """Launch products of M, N and K of this form (``gemm_batched.cu``), one for each matrix of c.

    ``steps``: numbers from one matrix of a, and of b, to the next; 0 where all products share one.
    """
    (m, n, k), (rows, columns, threads) = sizes, TILES[tile]
    grid = (ceil_div(m, rows) * ceil_div(n, columns), 1, len(c))
    macros: dict[str, Any] = {"REAL": c_type(a.dtype, "matmul"), "TILE": tile}
    macros["VEC"] = min(vector_width(array.shape[-1], array) for array in (a, b))
    BATCHED.launch(device, f"gemm_batched_{form}", grid, threads, (c, a, b, m, n, k, *steps), **macros)


def _vector(*operands: Any) -> int:
    """A vector runs along the contiguous axis of each operand."""
    matrices = [array for array in operands if array is not None and array.ndim == 2]
    return min(vector_width(array.shape[1], array, widths=(4, 2, 1)) for array in matrices)


def _launch(
    device: Device, kernel: str, args: tuple[Any, ...], grid: tuple[int, int, int], tile: int, vec: int
) -> None:
    macros: dict[str, Any] = {"REAL": c_type(args[0].dtype, "gemm"), "VEC": vec, "TILE": tile}
    SOURCE.launch(device, kernel, grid, TILES[tile][2], args, **macros)


def launch_gemm_backward(
    device: Device,
    dy: Any,
    y: Any,
    x: Any,
    weight: Any,
    wants_sums: bool,
    more: Any,
    apart: Callable[[], tuple[Any, Any, Any]],
) -> tuple[Any, Any, Any]:
    """The gradients (dx, dweight, sums or None) of x weight^T by one launch, or ``apart()`` where that does not pay.

    dy, y (K, M), y None without a ReLU; x (K, N), weight (M, N); dx is added to ``more`` (K, N), unless that is None.
    """
    (k, m), n = dy.shape, x.shape[1]
    if tensor.takes(device, x.dtype, (m, n, k), dy, x):
        return apart()  # they read plain matrices
    inputs = (dy, y, x, weight, more)
    vec = _vector(*inputs)

    def run(way: Way) -> tuple[Any, Any, Any]:
        if way == APART:
            return apart()
        tile, slices, dx_slices = way
        tiles, dx_tiles = count_tiles(m, n, tile), count_tiles(k, n, tile)
        if (tiles + dx_tiles) * _TICKETS > COUNT:  # dx's tickets follow those of dweight's tiles; these fill the card
            dx_slices = 1
        dweight, dx = device.empty(weight.shape, x.dtype), device.empty(x.shape, x.dtype)
        sums = device.empty((m,), x.dtype) if wants_sums else None
        partial, drawn = split_buffers(device, x.dtype, tiles, slices, tile)
        dx_partial, dx_drawn = split_buffers(device, x.dtype, dx_tiles, dx_slices, tile)
        buffers = (partial, dx_partial, dx_drawn if drawn is None else drawn)
        args = (dweight, sums, dx, *buffers, *inputs, m, n, k, slices, dx_slices)
        grid = (tiles * slices + dx_tiles * dx_slices, 1, 1)
        _launch(device, "gemm_backward", args, grid, tile, vec)
        return dx, dweight, sums

    products = (m, n, k, 1, _MOST_SLICES), (k, n, m, 1, _MOST_SLICES)
    rule = choose_shared(products)
    # A large product of dx alone has registers for another block on an SM, and reads dz instead of dy and y.
    if rule != APART and not at_once(count_tiles(k, n, rule[0]) * rule[2], rule[0]):
        rule = APART
    known = (m, n, k, x.dtype.name, vec, int(y is not None))
    return best(device, SOURCE, "gemm_backward", known, rule, lambda: shared_ways(products), run)
