"""Launches of ``kernels/reduce.cu``: any set of axes of a physical array, as steps over one axis each.

An array is viewed as (outer, length, inner) with the middle axis reduced. Several axes that are not neighbours take
several steps, the longest first, so that intermediate results are small.
"""

from __future__ import annotations

import math
from typing import Any

from gpunn._device import Device
from gpunn.gpu.broadcast import c_number, launch_repeat
from gpunn.gpu.launcher import KernelSource, ceil_div, divisor_struct, vector_width

SOURCE = KernelSource("reduce.cu", REAL=("float", "double", "int64"), VEC=(1, 4))
_BLOCK = 256
_WAVES = 528  # blocks that fill a large card a few times; a constant, so that every card computes the same bits
_CHAIN = 512  # most elements that a thread adds one by one: float32 loses few digits

# Name: (op and detail of reduce.cu, what reduces the results).
_FUNCTIONS = ("abs", "square", "power", "nonzero", "away_squared", "equal", "equal_or_nan", "abs_equal_or_nan")
OPERATIONS: dict[str, tuple[int, int, str]] = {"sum": (0, 0, "sum"), "prod": (3, 0, "prod")}
OPERATIONS |= {name: (1, code, "sum") for code, name in enumerate(_FUNCTIONS)}
OPERATIONS |= {"min": (2, 0, "min"), "max": (2, 1, "max"), "min_abs": (2, 2, "min"), "max_abs": (2, 3, "max")}
_END_NAMES = ("as_it_is", "scaled", "divided", "root_of_divided", "root", "to_the_power")
_ENDS = {name: code for code, name in enumerate(_END_NAMES)}


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def rows_shape(outer: int, length: int, vec: int) -> tuple[tuple[int, int, int], int, int]:
    """Block, slices and length of a slice for rows of ``length`` elements; no slice is empty."""
    threads = min(32, _power_of_two(ceil_div(max(length, 1), 4 * vec)))
    if length <= 64 * 4 * vec:
        return (threads, _BLOCK // threads, 1), 1, max(length, 1)
    fewest = ceil_div(length, _BLOCK * vec * _CHAIN)
    useful = length // (_BLOCK * vec * 4)
    slices = min(max(1, fewest, min(ceil_div(_WAVES, outer), useful)), 65535)
    per_slice = ceil_div(ceil_div(length, slices), vec) * vec
    return (_BLOCK, 1, 1), ceil_div(length, per_slice), per_slice


def columns_shape(outer: int, length: int, inner: int, vec: int) -> tuple[tuple[int, int, int], int, int, int]:
    """Block, tiles of columns, slices and length of a slice for ``inner`` columns."""
    tall, wide = _power_of_two(length), _power_of_two(ceil_div(inner, vec))
    across = min(wide, _BLOCK // min(tall, 8))
    down = min(tall, _BLOCK // across)
    tiles = ceil_div(inner, across * vec)
    fewest = ceil_div(length, down * _CHAIN)
    slices = min(max(1, fewest, min(ceil_div(_WAVES, outer * tiles), length // (down * 8))), 65535)
    per_slice = max(1, ceil_div(length, slices))
    return (across, down, 1), tiles, max(1, ceil_div(length, per_slice)), per_slice


def groups_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[int, list[int]]]:
    """The reduced axes in runs of neighbours, as (length, axes); axes of 1 never separate neighbours."""
    runs: list[tuple[int, list[int]]] = []
    open_run = False
    for a, n in enumerate(shape):
        if n == 1:
            continue
        if a in axes:
            if open_run:
                length, members = runs[-1]
                runs[-1] = length * n, [*members, a]
            else:
                runs.append((n, [a]))
        open_run = a in axes
    return runs


def reduce_axes(
    device: Device,
    x: Any,
    axes: tuple[int, ...],
    operation: str,
    *,
    beside: Any = None,
    p: float = 0.0,
    end: str = "as_it_is",
    number: float = 0.0,
) -> Any:
    """Reduce a contiguous array over ``axes``, which are kept.

    Parameters
    ----------
    x : array
        float32, float64 or int64.
    operation : str
        In ``OPERATIONS``; for integers only "sum", "prod", "min" and "max".
    beside : array, optional
        Of the result's shape: what the function compares each element with.
    p : float
        The power that "power" takes.
    end, number : str, float
        What is done to the results: they are "scaled" or "divided" by ``number``, and so on.
    """
    shape = tuple(x.shape)
    runs = groups_of(shape, axes)
    result = tuple(1 if a in axes else n for a, n in enumerate(shape))
    if math.prod(result) == 0:
        return device.empty(result, x.dtype)
    if x.size == 0:  # some axis is empty, whichever: columns of nothing
        return _reduce(device, x.reshape(1, 0, math.prod(result)), beside, operation, p, end, number).reshape(result)
    if not runs:  # nothing but axes of 1: each element is its own sum
        runs = [(1, [])]
    while runs:
        longest = max(range(len(runs)), key=lambda i: runs[i][0])
        length, members = runs.pop(longest)
        if members:
            outer, inner = math.prod(shape[: members[0]]), math.prod(shape[members[-1] + 1 :])
        else:
            outer, inner = 1, math.prod(shape)
        shape = tuple(1 if a in members else n for a, n in enumerate(shape))
        if beside is not None and tuple(beside.shape) != shape:
            beside = launch_repeat(device, beside, shape)
        last = not runs
        how = (p, end, number) if last else (p, "as_it_is", 0.0)
        x = _reduce(device, x.reshape(outer, length, inner), beside, operation, *how).reshape(shape)
        operation, beside = OPERATIONS[operation][2], None
    return x


def _reduce(device: Device, x: Any, beside: Any, operation: str, p: float, end: str, number: float) -> Any:
    """(outer, length, inner) to (outer, inner), in one launch or two."""
    outer, length, inner = x.shape
    op, detail, again = OPERATIONS[operation]
    real = c_number(operation, x.dtype)
    exact = x.dtype.kind == "i"
    last = (0 if exact else p, _ENDS[end], 0 if exact else number)
    vec = vector_width(length if inner == 1 else inner, x, beside)
    if inner == 1:
        block, slices, per_slice = rows_shape(outer, length, vec)
        y = device.empty((outer, slices, 1), x.dtype)
        grid = (ceil_div(outer, block[1]), slices, 1)
        sizes: tuple[Any, ...] = (outer, length, per_slice)
        kernel = "reduce_rows"
    else:
        block, tiles, slices, per_slice = columns_shape(outer, length, inner, vec)
        y = device.empty((slices, outer, inner), x.dtype)
        grid = (outer * tiles, slices, 1)
        sizes = (outer, length, inner, per_slice, divisor_struct(tiles))
        kernel = "reduce_columns"
    how = last if slices == 1 else (last[0], _ENDS["as_it_is"], 0)
    SOURCE.launch(device, kernel, grid, block, (y, x, beside, *sizes, op, detail, *how), REAL=real, VEC=vec)
    if slices == 1:
        return y.reshape(outer, inner)
    y = y if inner == 1 else y.reshape(1, slices, outer * inner)
    return _reduce(device, y, None, again, p, end, number).reshape(outer, inner)
