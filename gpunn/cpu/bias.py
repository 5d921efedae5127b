"""The gradient of a bias, and of the ReLU before it, on the CPU: mask and sum while a block of rows is in cache."""

from __future__ import annotations

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import column_sums
from gpunn.cpu.masking import is_open, keep_where

_BLOCK_BYTES = 1 << 20  # of a thread's block of rows
_LEAST_MASKED, _LEAST_SUMMED = 1 << 19, 1 << 24  # bytes worth a second block: a sum runs at memory speed


def bias_backward(dy: np.ndarray, y: np.ndarray | None, wants_bias: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The fast body of ``bias_backward``."""
    rows, columns = dy.shape
    dz = dy if y is None else memory.empty_like(dy)
    # Blocks of rows that stay in cache between the mask and the sum. An even number gives two threads the same
    # work.
    least, block = (_LEAST_SUMMED, _LEAST_SUMMED) if y is None else (_LEAST_MASKED, _BLOCK_BYTES)
    parts = threads.spans(rows, 1 if dy.nbytes < least else 2 * -(-dy.nbytes // (2 * block)))
    sums = np.empty((max(1, len(parts)), columns), dy.dtype)
    sums[:1] = 0

    def task(numbered: tuple[int, slice]) -> None:
        number, part = numbered
        if y is not None:
            keep_where(is_open(y[part]), dy[part], dz[part])
        if wants_bias:
            sums[number] = column_sums(dz[part])

    threads.run(task, enumerate(parts))
    return dz, sums.sum(axis=0) if wants_bias else None
