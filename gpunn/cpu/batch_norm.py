"""Batch normalisation in NumPy at memory speed: the fast bodies of ``batch_norm``.

All three go through the tensor in parts that stay in a core's cache, do one operation after
another on a part, in place, and spread the parts over the threads. The split depends on the shape
alone, and the parts' results are added up in order: the same bits for any number of threads.

Where no channel's mean is far from 0, everything is computed from x itself: sums of squares, a scale and a shift.
Otherwise digits would be lost, and the means are subtracted first, which takes a pass more.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.masking import is_open, keep_where

_PART = 1 << 16  # elements: the three or four arrays that are worked on fit into a second-level cache together
# Elements of a row in elementwise operations: NumPy's buffer. It copies a row that is repeated against shorter ones.
_INNER = 8192
_SUMMED = 512  # elements of a row in sums: enough for vector instructions, and few to add up by channel
# Deviations from 0 up to which a mean counts as near. A sum of squares then is at most 17 times that about the mean. A
# part's sums add at most 128 rows, so they are off by some 10 roundings, and the variance by 1e-5 of itself in float32,
# by 1e-6 as a rule.
_NEAR = 4


class _Parts:
    """A (rows, channels) matrix split into parts of rows.

    A part is viewed as (rows / fold, fold * channels): NumPy's inner loop is the last axis, and over
    16 channels it would be all overhead. Per-channel numbers are repeated to that width.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.channels = x.shape[-1]
        self.rows = math.prod(x.shape[:-1])
        self.cuts = _cuts(self.rows, self.channels)
        self._dtype = x.dtype

    def of(self, array: np.ndarray) -> list[np.ndarray]:
        """The parts of an array, as views."""
        matrix = array.reshape(self.rows, self.channels)
        return [matrix[part].reshape(-1, fold * self.channels) for part, fold, _ in self.cuts]

    def wide(self, values: Any) -> list[np.ndarray]:
        """A row for each part that repeats ``values`` (C) over its width."""
        rows = {}
        for fold in {fold for _, fold, _ in self.cuts}:
            row = np.empty((fold, self.channels), self._dtype)
            row[...] = values
            rows[fold] = row.reshape(-1)
        return [rows[fold] for _, fold, _ in self.cuts]

    def sums(self, i: int, u: np.ndarray, v: np.ndarray | None = None) -> np.ndarray:
        """By channel, in float64: the sums of a part of an array, or of its products with another's."""
        width = self.cuts[i][2] * self.channels
        u = u.reshape(-1, width)
        found = np.matmul(_ones(len(u), u.dtype), u) if v is None else np.einsum("ij,ij->j", u, v.reshape(-1, width))
        by_channel: np.ndarray = found.reshape(-1, self.channels).sum(axis=0, dtype=np.float64)
        return by_channel

    def run(self, task: Any, *, again: bool = False) -> None:
        """Call ``task(number)`` for every part, on all threads; ``again``: from the last, which is still in a cache."""
        numbers = range(len(self.cuts))
        threads.run(task, numbers[::-1] if again else numbers)


@functools.lru_cache(maxsize=1024)
def _cuts(rows: int, channels: int) -> list[tuple[slice, int, int]]:
    """Parts: their rows, and how many of these are one row of elementwise operations, and of sums."""
    fold = _divisor(rows, _INNER, channels) or max(1, min(_least(_INNER, channels), rows))  # leaving a remainder
    summed = _divisor(fold, _SUMMED, channels) or fold
    step = max(1, _PART // (fold * channels)) * fold
    whole = rows // fold * fold
    cuts = [(slice(a, min(whole, a + step)), fold, summed) for a in range(0, whole, step)]
    if whole < rows:
        cuts.append((slice(whole, rows), 1, 1))
    return cuts


def _divisor(rows: int, width: int, channels: int) -> int | None:
    """How many of ``rows`` are viewed as one of at least ``width`` numbers, with none left over; None: no number is."""
    least = _least(width, channels)
    return next((n for n in range(least, 4 * least) if rows % n == 0), None)


def _least(width: int, channels: int) -> int:
    return max(1, -(-width // channels))


@functools.lru_cache(maxsize=64)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(count, dtype)


def _scratch(like: np.ndarray) -> np.ndarray:
    return threads.scratch.array("batch_norm", like.shape, like.dtype)


def _is_near(mean: Any, var: Any) -> bool:
    """Whether no channel's mean is so far from 0, in deviations, that it has to be subtracted first."""
    return bool((mean * mean <= _NEAR * _NEAR * var).all())


def statistics(
    x: np.ndarray, running_mean: Any, running_var: Any, batches: Any, momentum: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and M2 of each part about its own mean, merged by Chan's formula in float64.

    Where a part's mean is far from 0, it is subtracted. A sum of numbers far from 0 is off by some of its last digits,
    and so is this mean. What is left then has a mean of its own, which is added to the first one.
    """
    parts = _Parts(x)
    if parts.rows == 0:
        return np.zeros(parts.channels, x.dtype), np.zeros(parts.channels, x.dtype)
    pieces = parts.of(x)
    means, m2s = np.empty((2, len(pieces), parts.channels))
    counts = np.array([[part.stop - part.start] for part, *_ in parts.cuts])

    def task(i: int) -> None:
        u, n = pieces[i], counts[i]
        mean = parts.sums(i, u) / n
        m2 = parts.sums(i, u, u) - n * mean * mean
        if not _is_near(mean, m2 / n):
            centre = mean.astype(x.dtype)
            apart = np.subtract(u, np.tile(centre, u.shape[1] // parts.channels), out=_scratch(u))
            rest = parts.sums(i, apart) / n
            mean = centre + rest
            m2 = parts.sums(i, apart, apart) - n * rest * rest
        means[i], m2s[i] = mean, m2

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
    factor = (1 if weight is None else weight) / np.sqrt(var + eps)
    near = _is_near(mean, var)
    centre, scale, zero = [] if near else parts.wide(mean), parts.wide(factor), parts.wide(0) if relu else []
    shift = parts.wide((0 if bias is None else bias) - (mean * factor if near else 0))

    def task(i: int) -> None:
        if near:
            v = np.multiply(pieces[i], scale[i], out=out[i])
        else:
            v = np.subtract(pieces[i], centre[i], out=out[i])
            v *= scale[i]
        v += shift[i]
        if extra is not None:
            v += extra[i]
        if relu:
            np.maximum(v, zero[i], out=v)  # twice as fast as with a scalar

    parts.run(task, again=True)
    return y


def backward(
    dy: np.ndarray,
    x: np.ndarray,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    bias: Any,
    eps: float,
    training: bool,
    added: bool,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Any, Any, Any, Any]:
    """dz is kept if it will be returned, or overwritten by dx: nothing is computed twice.

    Where y is 0 need not be told from ``bias``: y is at hand.
    dx = scale dz + slope x + shift, by channel; slope and shift are 0 in evaluation.
    """
    parts = _Parts(x)
    need_dx, need_dweight, need_dbias, need_dresidual = needs
    dx = memory.empty_like(x) if need_dx else None
    dz = dy if y is None else memory.empty_like(x) if need_dresidual or dx is None else dx
    pieces, given, into = parts.of(x), parts.of(dy), parts.of(dz)
    mask = None if y is None else parts.of(y)
    near = _is_near(mean, var)
    centre, offset = (None, mean) if near else (parts.wide(mean), 0)
    found = np.zeros((2, max(1, len(pieces)), parts.channels))
    sums = need_dweight or need_dbias or (training and need_dx)

    def apart(i: int) -> np.ndarray:
        """x, or x - mean: the difference to (x - mean) is ``offset``."""
        return pieces[i] if centre is None else np.subtract(pieces[i], centre[i], out=_scratch(pieces[i]))

    def first(i: int) -> None:
        d = into[i]
        if mask is not None:
            keep_where(is_open(mask[i]), given[i], d)
        if sums:
            found[0, i] = parts.sums(i, d)
            found[1, i] = parts.sums(i, d, apart(i))

    if sums or mask is not None:
        parts.run(first)
    total, dot = found.sum(axis=1)
    dot -= offset * total
    rstd = 1 / np.sqrt(var + eps)
    if dx is not None:
        rows, factor = max(parts.rows, 1), (rstd if weight is None else weight * rstd)
        share = -factor * dot * rstd**2 / rows
        scale, slope = parts.wide(factor), parts.wide(share)
        shift, out = parts.wide(-factor * total / rows - share * offset), parts.of(dx)

        def second(i: int) -> None:
            if training:
                rest = np.multiply(apart(i), slope[i], out=_scratch(pieces[i]))
                rest += shift[i]
            d = np.multiply(into[i], scale[i], out=out[i])
            if training:
                d += rest

        parts.run(second, again=True)
    return (
        dx,
        (dot * rstd).astype(x.dtype) if need_dweight else None,
        total.astype(x.dtype) if need_dbias else None,
        dz if need_dresidual and y is not None else None,
    )


def backward_of_all(
    dy: np.ndarray,
    x: np.ndarray,
    y: Any,
    mean: Any,
    var: Any,
    weight: Any,
    sums: np.ndarray,
    count: np.ndarray,
    eps: float,
    needs: tuple[bool, bool],
) -> tuple[Any, Any]:
    """The second half of :func:`backward` in training, from sums over ``count`` rows, of which these are some."""
    parts = _Parts(x)
    dx = memory.empty_like(x) if needs[0] else None
    dz = dy if y is None else memory.empty_like(x) if needs[1] or dx is None else dx
    pieces, given, into = parts.of(x), parts.of(dy), parts.of(dz)
    mask = None if y is None else parts.of(y)
    near = _is_near(mean, var)
    centre, offset = (None, mean) if near else (parts.wide(mean), 0)
    rstd = 1 / np.sqrt(var + eps)
    factor = rstd if weight is None else weight * rstd
    dot, total = sums / np.maximum(count, 1).astype(np.float64)
    share = -factor * dot * rstd
    scale, slope, shift = (parts.wide(v) for v in (factor, share, -factor * total - share * offset))
    out = [] if dx is None else parts.of(dx)

    def task(i: int) -> None:
        if mask is not None:
            keep_where(is_open(mask[i]), given[i], into[i])
        if dx is not None:
            rest = pieces[i] if centre is None else np.subtract(pieces[i], centre[i], out=_scratch(pieces[i]))
            rest = np.multiply(rest, slope[i], out=_scratch(pieces[i]))
            rest += shift[i]
            d = np.multiply(into[i], scale[i], out=out[i])
            d += rest

    parts.run(task, again=True)
    return dx, dz if needs[1] and y is not None else None
