"""Parametric rectified linear unit on the CPU: slopes are repeated once, rows are spread over the threads."""

from __future__ import annotations

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.activations import one_unless
from gpunn.cpu.elementwise import PART, column_sums, quiet
from gpunn.cpu.masking import keep_where


def prelu_forward(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The fast body of ``prelu_forward``."""
    y = memory.empty_like(x)
    parts = _row_blocks(x.shape[0], x[:1].size)
    slopes = _spread(weight, x.shape, parts)
    shallow = bool(((weight > 0) & (weight <= 1)).all())  # then y is the larger of x and weight x

    def task(part: slice) -> None:
        own = slopes[: part.stop - part.start]
        with quiet():
            if shallow:
                np.multiply(x[part], own, out=y[part])
                np.maximum(y[part], x[part], out=y[part])
                return
            _factors(x[part] > 0, own, False, y[part])
            y[part] *= x[part]

    threads.run(task, parts)
    return y


def prelu_backward(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, needs: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The fast body of ``prelu_backward``."""
    rows, channels, inner = x.shape
    dx = memory.empty_like(x) if needs[0] else None
    parts = _row_blocks(rows, channels * inner)
    slopes = _spread(weight, x.shape, parts) if needs[0] else weight
    shallow = bool(((weight >= 0) & (weight <= 1)).all())
    sums = np.zeros((max(1, len(parts)), channels * inner), x.dtype)

    def task(numbered: tuple[int, slice]) -> None:
        number, part = numbered
        with quiet():
            is_open = x[part] > 0
            if dx is not None:
                _factors(is_open, slopes[: part.stop - part.start], shallow, dx[part])
                dx[part] *= dy[part]
            if needs[1]:
                product = x[part] * dy[part]
                keep_where(np.logical_not(is_open), product, product)
                sums[number] = column_sums(product.reshape(len(product), -1))

    threads.run(task, enumerate(parts))
    if not needs[1]:
        return dx, None
    with quiet():
        total = sums.sum(axis=0, dtype=np.float64).reshape(channels, inner).sum(axis=1)
    return dx, total.astype(x.dtype)


def _row_blocks(rows: int, columns: int) -> list[slice]:
    return threads.spans(rows, max(1, -(-rows * columns // PART)))


def _spread(weight: np.ndarray, shape: tuple[int, ...], parts: list[slice]) -> np.ndarray:
    """The weights repeated for as many rows as the longest part has: faster than repeating them each time."""
    rows = max((part.stop - part.start for part in parts), default=0)
    return np.ascontiguousarray(np.broadcast_to(weight[:, None], (rows, *shape[1:])))


def _factors(is_open: np.ndarray, slopes: np.ndarray, shallow: bool, out: np.ndarray) -> None:
    """out = 1 where ``is_open``, else the slope; ``shallow``: no slope is below 0 or above 1."""
    if shallow:
        out[...] = is_open
        np.maximum(out, slopes, out=out)
    else:
        out[...] = slopes
        one_unless(np.logical_not(is_open), out)
