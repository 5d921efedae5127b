"""Batch normalisation in NumPy at memory speed: the fast bodies of ``batch_norm``.

All three go through the tensor in parts that stay in a core's cache, do one operation after
another on a part, in place, and spread the parts over the threads. The split depends on the shape
alone, and the parts' results are added up in order: the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.masking import is_open, keep_where

_PART = 1 << 18  # elements; with a scratch copy it fits into a second-level cache
_INNER = 2048  # elements that NumPy's innermost loop should have
# Deviations by which a part's mean may differ from 0. A sum of a part's at most 128 rows is off by 64 roundings of the
# mean: nearer than this these are below 1e-4 of the deviation in float32 at the worst, and a hundredth of it as a rule.
_NEAR = 16


class _Parts:
    """A (rows, channels) matrix split into parts of rows.

    A part is viewed as (rows / fold, fold * channels): NumPy's inner loop is the last axis, and over
    16 channels it would be all overhead. Per-channel numbers are repeated to that width.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.channels = x.shape[-1]
        self.rows = math.prod(x.shape[:-1])
        fold = max(1, _INNER // self.channels)
        step = max(1, _PART // (fold * self.channels)) * fold
        whole = self.rows // fold * fold
        cuts = [(slice(a, min(whole, a + step)), fold) for a in range(0, whole, step)]
        if whole < self.rows:
            cuts.append((slice(whole, self.rows), 1))
        self.cuts = cuts
        self._dtype = x.dtype

    def of(self, array: np.ndarray) -> list[np.ndarray]:
        """The parts of an array, as views."""
        matrix = array.reshape(self.rows, self.channels)
        return [matrix[part].reshape(-1, fold * self.channels) for part, fold in self.cuts]

    def wide(self, values: Any) -> list[np.ndarray]:
        """A row for each part that repeats ``values`` (C) over its width."""
        values = np.broadcast_to(np.asarray(values, self._dtype), self.channels)
        rows = {fold: np.tile(values, fold) for fold in {fold for _, fold in self.cuts}}
        return [rows[fold] for _, fold in self.cuts]

    def by_channel(self, sums: np.ndarray) -> np.ndarray:
        """Column sums of a part, added up by channel, in float64."""
        return sums.reshape(-1, self.channels).sum(axis=0, dtype=np.float64)

    def run(self, task: Any) -> None:
        """Call ``task(number)`` for every part, on all threads."""
        threads.run(task, range(len(self.cuts)))


def _column_sums(u: np.ndarray) -> np.ndarray:
    return np.matmul(np.ones(len(u), u.dtype), u)


def _scratch(like: np.ndarray) -> np.ndarray:
    return threads.scratch.array("batch_norm", like.shape, like.dtype)


def statistics(
    x: np.ndarray, running_mean: Any, running_var: Any, batches: Any, momentum: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and M2 of each part about its own mean, merged by Chan's formula in float64.

    A sum of numbers far from 0 is off by some of its last digits, and so is the mean that is subtracted. What is left
    then has a mean of its own. Where that could matter it is taken, and added to the first one.
    """
    parts = _Parts(x)
    if parts.rows == 0:
        return np.zeros(parts.channels, x.dtype), np.zeros(parts.channels, x.dtype)
    pieces = parts.of(x)
    means, m2s = np.empty((2, len(pieces), parts.channels))
    counts = np.array([[part.stop - part.start] for part, _ in parts.cuts])

    def task(i: int) -> None:
        u = pieces[i]
        means[i] = parts.by_channel(_column_sums(u)) / counts[i]
        centre = means[i].astype(x.dtype)
        apart = np.subtract(u, np.tile(centre, u.shape[1] // parts.channels), out=_scratch(u))
        m2s[i] = parts.by_channel(np.einsum("ij,ij->j", apart, apart))
        if (counts[i] * means[i] * means[i] > _NEAR * _NEAR * m2s[i]).any():
            rest = parts.by_channel(_column_sums(apart)) / counts[i]
            means[i] = centre + rest
            m2s[i] -= counts[i] * rest * rest

    parts.run(task)
    first = means[0]  # means differ little from one another: what is added up is that
    mean = first + (counts * (means - first)).sum(axis=0) / parts.rows
    var = (m2s + counts * (means - mean) ** 2).sum(axis=0) / parts.rows
    if batches is not None:
        batches += 1
    share = 1 / batches if momentum is None else momentum
    if running_mean is not None:
        running_mean[...] = (1 - share) * running_mean + share * mean
    if running_var is not None:
        running_var[...] = (1 - share) * running_var + share * var * (parts.rows / max(parts.rows - 1, 1))
    return mean.astype(x.dtype), var.astype(x.dtype)


def normalise(
    x: np.ndarray, mean: Any, var: Any, weight: Any, bias: Any, residual: Any, eps: float, relu: bool
) -> np.ndarray:
    """Each part of y is written once and finished while it is in cache."""
    parts = _Parts(x)
    y = memory.empty_like(x)
    pieces, out = parts.of(x), parts.of(y)
    extra = None if residual is None else parts.of(residual)
    centre, scale = parts.wide(mean), parts.wide((1 if weight is None else weight) / np.sqrt(var + eps))
    shift, zero = parts.wide(0 if bias is None else bias), parts.wide(0)

    def task(i: int) -> None:
        v = np.subtract(pieces[i], centre[i], out=out[i])
        v *= scale[i]
        if bias is not None:
            v += shift[i]
        if extra is not None:
            v += extra[i]
        if relu:
            np.maximum(v, zero[i], out=v)  # twice as fast as with a scalar

    parts.run(task)
    return y


def backward(
    dy: np.ndarray,
    x: np.ndarray,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    eps: float,
    training: bool,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Any, Any, Any, Any]:
    """dz is kept if it will be returned, or overwritten by dx: nothing is computed twice."""
    parts = _Parts(x)
    need_dx, need_dweight, need_dbias, need_dresidual = needs
    dx = memory.empty_like(x) if need_dx else None
    dz = dy if y is None else memory.empty_like(x) if need_dresidual or dx is None else dx
    pieces, given, into = parts.of(x), parts.of(dy), parts.of(dz)
    mask = None if y is None else parts.of(y)
    centre = parts.wide(mean)
    found = np.zeros((2, max(1, len(pieces)), parts.channels))
    sums = need_dweight or need_dbias or (training and need_dx)

    def first(i: int) -> None:
        d = into[i]
        if mask is not None:
            keep_where(is_open(mask[i]), given[i], d)
        if sums:
            apart = np.subtract(pieces[i], centre[i], out=_scratch(d))
            found[0, i] = parts.by_channel(_column_sums(d))
            found[1, i] = parts.by_channel(np.einsum("ij,ij->j", d, apart))

    if sums or mask is not None:
        parts.run(first)
    total, dot = found.sum(axis=1)
    rstd = 1 / np.sqrt(var + eps)
    if dx is not None:
        rows = max(parts.rows, 1)
        slope, shift = parts.wide(dot * rstd**2 / rows), parts.wide(total / rows)
        scale, out = parts.wide(rstd if weight is None else weight * rstd), parts.of(dx)

        def second(i: int) -> None:
            d = into[i]
            if training:
                apart = np.subtract(pieces[i], centre[i], out=_scratch(d))
                apart *= slope[i]
                d = np.subtract(d, apart, out=out[i])
                d -= shift[i]
            np.multiply(d, scale[i], out=out[i])

        parts.run(second)
    return (
        dx,
        (dot * rstd).astype(x.dtype) if need_dweight else None,
        total.astype(x.dtype) if need_dbias else None,
        dz if need_dresidual and y is not None else None,
    )
