"""Launches of the kernels that put rows in order (``kernels/sort.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.broadcast import NUMBERS, as_numbers, c_number
from gpunn.gpu.launcher import KernelSource, ceil_div

SOURCE = KernelSource("sort.cu", REAL=NUMBERS)
_CHUNK, _THREADS, _MERGING = 1024, 512, 256  # as in sort.cu


def order_of_rows(device: Device, rows: Any, descending: bool) -> Any:
    """int64, like contiguous rows: where their elements are in stable order; NaN counts as the largest number."""
    order, length = device.empty(rows.shape, np.int64), rows.shape[-1]
    if rows.size == 0:
        return order
    x, real, count = as_numbers(rows), c_number("sort", rows.dtype), rows.size // length
    width = min(_CHUNK, 1 << max(1, (length - 1).bit_length()))
    chunks, total = ceil_div(length, width), rows.size
    word = np.dtype(f"u{x.dtype.itemsize}")
    runs: list[Any] = [None] * 2
    if chunks > 1:
        runs = [(device.empty((total,), word), device.empty((total,), np.int32)) for _ in range(2)]
    keys, places = runs[0] or (None, None)
    grid = (ceil_div(count * chunks, _CHUNK // width), 1, 1)
    args = (order, keys, places, x, count, length, chunks, width, int(descending))
    SOURCE.launch(device, "sort_chunks", grid, _THREADS, args, REAL=real)
    run = width
    while run < length:
        (keys, places), target = runs
        last = 2 * run >= length
        to = (order, None, None) if last else (None, *target)
        args = (*to, keys, places, length, run, total)
        SOURCE.launch(device, "merge_runs", (ceil_div(total, _MERGING), 1, 1), _MERGING, args, REAL=real)
        runs.reverse()
        run *= 2
    return order
