"""Group normalisation in NumPy: the fast bodies of ``group_norm``.

Items are taken in blocks that stay in a processor's cache. Mean and variance come from sums of x and x² by channel, and
y = x scale + shift: that costs digits where the mean is far from 0 compared with the deviation, so there the mean is
subtracted first. Blocks depend on the shape alone and what they found is added up in order: the same bits for any
number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import quiet

_BLOCK = 1 << 20  # bytes: as much again is written, and a block costs some 50 us besides its numbers
_FEW = 16  # positions: with fewer, what is one number a channel takes longer than what is one a position
_WIDE = 512  # numbers that NumPy's innermost loop should have
_DOWN = 512  # rows added in their own dtype; such sums are added in float64
_ALONG = 1 << 12  # numbers of a row that are added in their own dtype
_NEAR = 2  # deviations that a mean may be from 0: roundings grow by a factor of 5
Needs = tuple[bool, bool, bool]
Arrays = tuple[np.ndarray, np.ndarray]


class _Items:
    """Arrays (N, P, G, K, Q), of which P or Q is 1, as a matrix for each item, and the blocks of items.

    Behind positions channels are columns, and several positions are one row: NumPy's inner loop is the last axis, and
    over 16 channels it would be all overhead. Before positions each channel is a row.
    """

    def __init__(self, x: np.ndarray) -> None:
        n, before, self.groups, channels, behind = x.shape
        self.channels, self.size = self.groups * channels, before * channels * behind
        self.dtype, self.columns = x.dtype, behind == 1
        most = min(before, max(1, _WIDE // self.channels))
        self.fold = next(f for f in range(most, 0, -1) if before % f == 0)
        rows = (before // self.fold, self.fold * self.channels)
        self.shape = (n, *rows) if self.columns else (n, self.channels, behind)
        # Two blocks at least where there is work for two threads.
        self.blocks = list(enumerate(threads.spans(n, max(x.nbytes // _BLOCK, min(2, x.nbytes >> 17), 1))))

    def of(self, array: np.ndarray) -> np.ndarray:
        """The array as matrices."""
        return array.reshape(self.shape)

    def sums(self, u: np.ndarray, v: np.ndarray | None = None) -> np.ndarray:
        """By item and channel the sum of u, or of u v: in float64."""
        if self.columns:
            cuts = threads.spans(u.shape[1], -(-u.shape[1] // _DOWN))
            parts = [_down(u[:, cut], None if v is None else v[:, cut]) for cut in cuts]
        else:
            cuts = threads.spans(u.shape[2], -(-u.shape[2] // _ALONG))
            parts = [_along(u[:, :, cut], None if v is None else v[:, :, cut]) for cut in cuts]
        total = np.sum(parts, axis=0, dtype=np.float64)
        return np.asarray(total.reshape(len(u), -1, self.channels).sum(axis=1))

    def means(self, sums: np.ndarray) -> np.ndarray:
        """Of sums by channel the means of each group."""
        return np.asarray(sums.reshape(len(sums), self.groups, -1).sum(axis=2) / self.size)

    def moments(self, u: np.ndarray) -> Arrays:
        """By item and group the mean and the variance."""
        mean = self.means(self.sums(u))
        return mean, np.maximum(self.means(self.sums(u, u)) - mean * mean, 0)

    def by_channel(self, by_group: np.ndarray) -> np.ndarray:
        """A group's number for each of its channels: in float64."""
        return np.repeat(by_group.astype(np.float64), self.channels // self.groups, axis=1)

    def spread(self, by_channel: np.ndarray) -> np.ndarray:
        """A channel's number beside each of its numbers in a matrix."""
        values = by_channel.astype(self.dtype)
        return np.tile(values, self.fold)[:, None, :] if self.columns else values[:, :, None]


def _down(u: np.ndarray, v: np.ndarray | None) -> np.ndarray:
    return np.matmul(np.ones(u.shape[1], u.dtype), u) if v is None else np.einsum("nij,nij->nj", u, v)


def _along(u: np.ndarray, v: np.ndarray | None) -> np.ndarray:
    return u.sum(axis=2) if v is None else np.einsum("nij,nij->ni", u, v)


def _is_near(mean: np.ndarray, rstd: np.ndarray) -> bool:
    return bool((np.abs(mean) * rstd <= _NEAR).all())


def forward(x: np.ndarray, weight: Any, bias: Any, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """y = x (rstd weight) + (bias - mean rstd weight).

    None where positions are few, or a weight is infinite or NaN: here inf - inf stands for what has a value.
    """
    if x.shape[1] * x.shape[4] < _FEW or not (weight is None or np.isfinite(weight).all()):
        return None
    items, y = _Items(x), memory.empty_like(x)
    mean, rstd = (np.empty((len(x), items.groups), x.dtype) for _ in range(2))
    given, out = items.of(x), items.of(y)

    def task(block: tuple[int, slice]) -> None:
        cut = block[1]
        u, v = given[cut], out[cut]
        with quiet():
            rest, var = items.moments(u)
            mean[cut] = rest
            if not (rest * rest <= _NEAR * _NEAR * var).all():
                u = np.subtract(u, items.spread(items.by_channel(mean[cut])), out=v)
                rest, var = items.moments(u)
                mean[cut] += rest
            rstd[cut] = scale = 1 / np.sqrt(var + eps)
            slope = items.by_channel(scale) * (1 if weight is None else weight.reshape(-1))
            shift = (0 if bias is None else bias.reshape(-1)) - items.by_channel(rest) * slope
            np.multiply(u, items.spread(slope), out=v)
            v += items.spread(shift)

    threads.run(task, items.blocks)
    return y, mean, rstd


def backward(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: Any, needs: Needs
) -> tuple[Any, Any, Any] | None:
    """dx = dy (rstd weight) - x slope + shift, the last two found from sums by channel of dy and of dy x.

    None where positions are few, or anything is infinite or NaN.
    """
    if x.shape[1] * x.shape[4] < _FEW:
        return None
    items = _Items(x)
    dx = memory.empty_like(x) if needs[0] else None
    factor = np.ones(items.channels) if weight is None else weight.reshape(-1).astype(np.float64)
    columns = np.zeros((max(1, len(items.blocks)), 2, items.channels))
    given, entering = items.of(x), items.of(dy)
    with quiet():
        near = _is_near(mean, rstd)

    def task(block: tuple[int, slice]) -> None:
        number, cut = block
        u, d = given[cut], entering[cut]
        with quiet():
            room = threads.scratch.array("group_norm", u.shape, u.dtype)
            rest, scale = items.by_channel(mean[cut]), items.by_channel(rstd[cut])
            if not near:
                u = np.subtract(u, items.spread(rest), out=room)
                rest = np.zeros_like(rest)
            over_d = items.sums(d)
            over_du = items.sums(d, u) - rest * over_d
            columns[number] = (over_du * scale).sum(axis=0), over_d.sum(axis=0)
            if dx is None:
                return
            g_mean, g_dot = (items.by_channel(items.means(factor * sums)) for sums in (over_d, over_du))
            slope, out = g_dot * scale**3, items.of(dx)[cut]
            np.multiply(d, items.spread(factor * scale), out=out)
            out -= np.multiply(u, items.spread(slope), out=room)
            out += items.spread(rest * slope - g_mean * scale)

    threads.run(task, items.blocks)
    found = columns.sum(axis=0)
    if not np.isfinite(found).all() or not np.isfinite(factor).all():
        return None
    dweight, dbias = (sums.astype(x.dtype).reshape(x.shape[2:4]) for sums in found)
    return dx, dweight if needs[1] else None, dbias if needs[2] else None
