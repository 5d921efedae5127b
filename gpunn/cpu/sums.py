"""Sums over any axes on the CPU: fast, and accurate in float32 however many numbers are added."""

from __future__ import annotations

import numpy as np

from gpunn.cpu import threads
from gpunn.cpu.elementwise import PART, column_sums, quiet

_WIDE = 2048  # columns from which on NumPy's own sums in float64 cost less
_LEAST = 1 << 23  # bytes that are worth a second thread: a sum runs at memory speed
_RUN = 512  # rows added in float32, one by one; their sums are added in float64


def sum_on_cpu(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The sum over ``axes``, which are removed; integers and bools are added in int64.

    Where the last axis stays, NumPy adds row after row in x's dtype, and the error grows with their number.
    """
    with quiet():
        if x.dtype.kind != "f":
            return np.asarray(x.sum(axis=axes, dtype=np.int64))
        kept = [a for a in range(x.ndim) if a not in axes]
        shape = tuple(x.shape[a] for a in kept)
        order = sorted((a for a in range(x.ndim) if x.shape[a] != 1), key=lambda a: -x.strides[a])
        stays = [a in kept for a in order]
        memory = x.transpose([*(a for a in range(x.ndim) if x.shape[a] == 1), *order])
        if x.size > PART and memory.flags.c_contiguous:
            columns = np.flatnonzero(stays)
            if not any(stays):
                return _all(memory.reshape(-1), shape)
            if (
                stays == sorted(stays) and _length(x, order, columns) <= _WIDE
            ):  # reduced axes first, then those that stay
                sums = _over_rows(memory.reshape(-1, _length(x, order, columns)))
            elif stays == sorted(stays, reverse=True):
                sums = _over_columns(memory.reshape(_length(x, order, columns), -1))
            else:
                sums = None
            if sums is not None:
                left = [a for a in order if a in kept]
                lengths = [x.shape[a] for a in left]
                ranks = [left.index(a) for a in kept if x.shape[a] != 1]
                return np.ascontiguousarray(sums.reshape(lengths).transpose(ranks)).reshape(shape)
        return np.asarray(x.sum(axis=axes, dtype=np.float64), x.dtype)


def _length(x: np.ndarray, order: list[int], columns: np.ndarray) -> int:
    return int(np.prod([x.shape[order[c]] for c in columns]))


def _all(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Everything: each part pairwise in x's dtype, the parts in float64."""
    parts = list(enumerate(threads.spans(x.size, -(-x.size // PART))))
    sums = np.empty(len(parts))

    def task(numbered: tuple[int, slice]) -> None:
        sums[numbered[0]] = x[numbered[1]].sum()

    threads.run(task, parts)
    return np.asarray(sums.sum(), x.dtype).reshape(shape)


def _over_rows(x: np.ndarray) -> np.ndarray:
    """Column sums of x (rows, columns)."""
    rows, columns = x.shape
    # In a part at most ``_RUN`` rows are added one by one: column_sums adds several at a time.
    parts = list(enumerate(threads.spans(rows, 2 * -(-x.size // (2 * _RUN * max(columns, _WIDE))))))
    sums = np.empty((len(parts), columns), x.dtype)

    def task(numbered: tuple[int, slice]) -> None:
        number, part = numbered
        sums[number] = column_sums(x[part])

    if x.nbytes < _LEAST:
        for part in parts:
            task(part)
    else:
        threads.run(task, parts)
    return sums.sum(axis=0, dtype=np.float64).astype(x.dtype)


def _over_columns(x: np.ndarray) -> np.ndarray:
    """Row sums of x (rows, columns), which NumPy does pairwise."""
    sums = np.empty(x.shape[0], x.dtype)

    def task(part: slice) -> None:
        with quiet():
            x[part].sum(axis=1, out=sums[part])

    threads.run(task, threads.spans(x.shape[0], -(-x.size // PART)))
    return sums
