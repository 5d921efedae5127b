"""Layer normalisation in NumPy: the fast bodies of ``layer_norm``.

Rows are processed in blocks that stay in a core's cache. NumPy takes twice as long over a row times a column as
over two arrays of the same size, and BLAS half as long to write such an outer product: so y = x A + B, with A and B
products of two columns and two rows. That costs digits where the mean is far from 0 compared with the deviation;
then the mean is subtracted first. Blocks depend on the shape alone and their results are added up in order: the
same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import quiet

_BLOCK = 1 << 20  # bytes: large for a second-level cache, but each block costs 60 us whatever its size
_LONG = 1 << 14  # columns from which on backward splits rows
_TILE = 1 << 13  # columns of such a part
_PIECE = 1 << 16  # numbers added in their own dtype; such sums are added in float64
_SHORT = 512  # columns up to which a product of all rows costs less than a call for each
_NEAR = 2  # deviations by which a mean may differ from 0: rounding errors grow by a factor of 5
Needs = tuple[bool, bool, bool]


def _blocks(x: np.ndarray, nbytes: int = _BLOCK) -> list[slice]:
    """Runs of rows; at least two where there is work for two threads."""
    return threads.spans(len(x), max(x.nbytes // nbytes, min(2, x.nbytes >> 19), 1))


def _along(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Sums over rows of u times v: (rows); v is one row, or shaped like u."""
    cols = u.shape[1]
    if cols > _PIECE:
        cuts = threads.spans(cols, -(-cols // _PIECE))
        parts = np.array([_along(u[:, cut], v[..., cut]) for cut in cuts])
        return np.asarray(parts.sum(axis=0, dtype=np.float64))
    if v.ndim > 1 and cols <= _SHORT:
        u, v = np.multiply(u, v, out=threads.scratch.array("layer_norm 2", u.shape, u.dtype)), np.ones(cols, u.dtype)
    if v.ndim == 1:
        return np.asarray(np.matmul(u, v))
    return np.asarray(np.matmul(u[:, None, :], v[:, :, None])[:, 0, 0])


def _down(weights: list[np.ndarray], u: np.ndarray) -> np.ndarray:
    """For each of the weights (rows), the sum of u's rows multiplied by it: (len(weights), cols)."""
    left = np.array(weights, u.dtype)
    return left * u if len(u) == 1 else np.matmul(left, u)  # products of one row with one column do not go to BLAS


def _pair(first: Any, second: Any, cols: int, dtype: Any) -> np.ndarray:
    """Two rows; None stands for ones in the first and zeros in the second."""
    rows = np.empty((2, cols), dtype)
    rows[0] = 1 if first is None else first
    rows[1] = 0 if second is None else second
    return rows


# -- forward --------------------------------------------------------------------------------------


def forward(x: np.ndarray, weight: Any, bias: Any, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y = x (rstd weight) + (bias - mean rstd weight); if the mean is large, an estimate of it is subtracted first."""
    rows, cols = x.shape
    real = x.dtype.type
    y = memory.empty_like(x)
    mean = np.empty(rows, x.dtype)
    slopes, shifts = np.zeros((rows, 2), x.dtype), np.ones((rows, 2), x.dtype)
    with quiet():
        scale, shift = _pair(weight, None, cols, x.dtype), _pair(weight, bias, cols, x.dtype)
        ones = np.ones(cols, x.dtype)
        exact = not np.isfinite(scale).all()  # infinity times the rest of the mean would be NaN

        def moments(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            about = _along(u, ones) / real(cols)
            return about, np.maximum(_along(u, u) / real(cols) - about * about, 0)

        def task(cut: slice) -> None:
            u, out = x[cut], y[cut]
            about, var = moments(u)
            mean[cut] = about
            if exact or not (about * about <= _NEAR * _NEAR * var).all():
                u = np.subtract(u, mean[cut, None], out=out)
                about, var = moments(u)
                mean[cut] += about
            rstd = 1 / np.sqrt(var + real(eps))
            slopes[cut, 0] = rstd
            if exact:
                u -= about.astype(x.dtype)[:, None]
                u *= slopes[cut, :1]
                u *= scale[0]
                u += shift[1]
                return
            shifts[cut, 0] = -about * rstd
            room = threads.scratch.array("layer_norm 0", u.shape, x.dtype)
            np.multiply(u, np.matmul(slopes[cut], scale, out=room), out=out)
            out += np.matmul(shifts[cut], shift, out=room)

        threads.run(task, _blocks(x, 2 * _BLOCK))  # one scratch array where backward has two
    return y, mean, slopes[:, 0].copy()


# -- backward -------------------------------------------------------------------------------------


def backward(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: Any, needs: Needs
) -> tuple[Any, Any, Any] | None:
    """dx = dy (rstd weight) - x slope + shift; slope and shift are columns from sums of dy weight and dy weight x.

    None if anything is infinite or NaN: here inf - inf would replace values that exist.
    """
    with quiet():
        work = _Backward(dy, x, mean, rstd, weight, needs)
        sums = work.whole_rows() if x.shape[1] < _LONG else work.long_rows()
        if work.strange or not np.isfinite(sums).all() or not np.isfinite(work.scale).all():
            return None
    dweight, dbias = sums.astype(x.dtype)
    return work.dx, dweight if needs[1] else None, dbias if needs[2] else None


class _Backward:
    """What the two ways through the matrix share: blocks of rows, and tiles where rows are long."""

    def __init__(self, dy: Any, x: Any, mean: Any, rstd: Any, weight: Any, needs: Needs) -> None:
        rows, self.cols = x.shape
        self.dy, self.x, self.mean, self.rstd = dy, x, mean, rstd
        self.dx = memory.empty_like(x) if needs[0] else None
        self.wants_columns = needs[1] or needs[2]
        self.scale = _pair(weight, None, self.cols, x.dtype)
        self.ones = np.ones(self.cols, x.dtype)
        self.slopes = np.zeros((rows, 2), x.dtype)
        self.slopes[:, 0] = rstd
        self.far = not (np.abs(mean) * rstd <= _NEAR).all()
        self.rest = mean.copy()  # the mean of what `block` returns
        self.strange = False

    def block(self, cut: slice, span: slice) -> np.ndarray:
        """A part of x, minus the mean where that is far from 0."""
        u: np.ndarray = self.x[cut, span]
        if not self.far:
            return u
        return np.subtract(u, self.mean[cut, None], out=threads.scratch.array("layer_norm 0", u.shape, u.dtype))

    def look(self, cut: slice, span: slice, u: np.ndarray, columns: np.ndarray) -> tuple[Any, Any]:
        """Add the part's dweight and dbias to ``columns``; returns its sums over rows of g and g u, g = dy weight."""
        d, scale = self.dy[cut, span], self.rstd[cut]
        p = np.multiply(d, u, out=threads.scratch.array("layer_norm 1", u.shape, u.dtype))
        if self.wants_columns:
            columns += _down([-self.rest[cut] * scale, np.ones(len(d))], d)
            columns[0] += _down([scale], p)[0]
        if self.dx is None:
            return None, None
        return _along(d, self.scale[0, span]), _along(p, self.scale[0, span])

    def write(self, cut: slice, span: slice, u: np.ndarray, over_g: np.ndarray, over_gu: np.ndarray) -> None:
        """dx of a part, from the sums over whole rows."""
        if self.dx is None:
            return
        scale, rest = self.rstd[cut], self.rest[cut]
        slope = (over_gu - rest * over_g) / self.cols * scale * scale * scale
        shift = over_g / self.cols * scale - rest * slope
        if not np.isfinite(slope + shift).all():
            self.strange = True
        room = threads.scratch.array("layer_norm 1", u.shape, u.dtype)
        out = self.dx[cut, span]
        np.multiply(self.dy[cut, span], np.matmul(self.slopes[cut], self.scale[:, span], out=room), out=out)
        np.multiply(u, slope.astype(u.dtype)[:, None], out=room)
        room += shift.astype(u.dtype)[:, None]
        out -= room

    def whole_rows(self) -> np.ndarray:
        """All the work on a block of rows while it is in cache."""
        cuts, everything = _blocks(self.x), slice(0, self.cols)
        # Sums over columns are as long as a row: groups of at least four rows keep them smaller than x.
        groups = threads.spans(len(cuts), max(1, min(16, len(self.x) // 4)))
        sums = np.zeros((len(groups), 2, self.cols))

        def task(number: int) -> None:
            for cut in cuts[groups[number]]:
                u = self.block(cut, everything)
                if self.far:
                    self.rest[cut] = _along(u, self.ones) / self.cols
                self.write(cut, everything, u, *self.look(cut, everything, u, sums[number]))

        threads.run(task, range(len(groups)))
        return np.asarray(sums.sum(axis=0))

    def long_rows(self) -> np.ndarray:
        """Tiles of columns, first for the sums, then for dx."""
        rows = len(self.x)
        tiles = threads.spans(self.cols, -(-self.cols // _TILE))
        cuts = threads.spans(rows, max(1, rows * _TILE * self.x.itemsize // _BLOCK))
        if self.far:

            def rest_of(cut: slice) -> None:
                self.rest[cut] = _along(self.block(cut, slice(0, self.cols)), self.ones) / self.cols

            threads.run(rest_of, _blocks(self.x))
        columns, shares = np.zeros((2, self.cols)), np.zeros((len(tiles), 2, rows))

        def look(number: int) -> None:
            span = tiles[number]
            for cut in cuts:
                over = self.look(cut, span, self.block(cut, span), columns[:, span])
                if self.dx is not None:
                    shares[number, :, cut] = over

        threads.run(look, range(len(tiles)))
        if self.dx is not None:
            over = shares.sum(axis=0)

            def write(span: slice) -> None:
                for cut in cuts:
                    self.write(cut, span, self.block(cut, span), *over[:, cut])

            threads.run(write, tiles)
        return columns
