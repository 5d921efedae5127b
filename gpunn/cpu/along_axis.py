"""Formulas along one axis on the CPU: split along the other axes, on all threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import PART, quiet
from gpunn.cpu.masking import INTEGERS

_SHORT = 512  # numbers in a row up to which a pass over all rows costs less than a call for each
_LARGE, _SMALL = 60, 2.0**-20  # whose exponentials float32 can add up; a row's sum that has lost nothing
_TERMS = 1 << 16  # the most terms that a product adds up in its own dtype


def row_sums(u: np.ndarray, v: np.ndarray | None = None) -> np.ndarray:
    """Sums over the rows of a matrix, or of u times v, as a column: products at BLAS speed, at most 2^16 terms each."""
    cols = u.shape[1]
    if cols > _TERMS:
        cuts = threads.spans(cols, -(-cols // _TERMS))
        pieces = [row_sums(u[:, cut], None if v is None else v[:, cut]) for cut in cuts]
        return np.sum(pieces, axis=0, dtype=np.float64).astype(u.dtype)
    if v is not None and cols <= _SHORT:  # a call for each row takes longer than the products' way through the cache
        u, v = np.multiply(u, v, out=threads.scratch.array("row_sums", u.shape, u.dtype)), None
    if v is None:
        return np.matmul(u, np.ones((cols, 1), u.dtype))
    return np.matmul(u[:, None, :], v[:, :, None])[:, 0]


def exponentials(x: np.ndarray, out: np.ndarray) -> np.ndarray | None:
    """out = exp(x); returns its sums over rows, as a column, or None if the rows' maxima have to be subtracted first.

    They need not be where no number is large and no row has small ones alone: what is 0 here has a share in its row's
    sum below what float32 can say.
    """
    if not x.max() <= _LARGE:
        return None
    sums = row_sums(np.exp(x, out=out))
    return sums if sums.min() >= _SMALL else None


def row_maxima(x: np.ndarray) -> np.ndarray:
    """The largest number of each row of a matrix, as a column; of a row with NaN, NaN or any other number.

    NumPy takes a third of the time for integers. Floats in the order of their bits read as integers are in the order of
    the numbers, once those below zero are turned round.
    """
    if x.shape[1] > _SHORT:
        return np.asarray(x.max(axis=1, keepdims=True))
    bits = x.view(INTEGERS[x.itemsize])
    keys = threads.scratch.array("row_maxima", x.shape, bits.dtype)
    _turned(bits, keys)
    most = keys.max(axis=1, keepdims=True)
    return _turned(most, np.empty_like(most)).view(x.dtype)


def _turned(bits: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The integers that sort as the floats with these bits do, and back."""
    np.right_shift(bits, 8 * bits.itemsize - 1, out=out)
    out &= np.iinfo(bits.dtype).max
    out ^= bits
    return out


def on_rows(work: Callable[..., None], *arrays: np.ndarray) -> np.ndarray:
    """An array like the first, filled by ``work(out, *parts)`` for runs of the last axis's rows, on all threads.

    Parameters
    ----------
    work : callable
        Writes every element of its first argument; all its arguments are matrices of some rows.
    arrays : numpy.ndarray
        C-contiguous, all of one shape, not empty.
    """
    y = memory.empty_like(arrays[0])
    cols = y.shape[-1]
    target, *flat = (a.reshape(-1, cols) for a in (y, *arrays))

    def task(part: slice) -> None:
        with quiet():
            work(target[part], *(a[part] for a in flat))

    # An even number of parts: two threads then have the same work.
    threads.run(task, threads.spans(len(target), 1 if y.size <= PART else 2 * -(-y.size // (2 * PART))))
    return y


def in_blocks_along(formula: Callable[..., Any], axis: int, *arrays: np.ndarray) -> np.ndarray:
    """``formula(*arrays, axis)``, an array of their shape, computed in blocks that hold the whole axis.

    Parameters
    ----------
    formula : callable
        Works on each line along ``axis`` by itself.
    axis : int
        From 0.
    arrays : numpy.ndarray
        C-contiguous, all of one shape and dtype.
    """
    shape = arrays[0].shape
    outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    # The last axis of an array stays the last: sums along it are pairwise.
    folded = (outer, length) if inner == 1 else (outer, length, inner)
    y = memory.empty(shape, arrays[0].dtype)
    target, given = y.reshape(folded), [a.reshape(folded) for a in arrays]

    def task(part: tuple[slice, ...]) -> None:
        with quiet():
            target[part] = formula(*(a[part] for a in given), 1)

    rows = threads.spans(outer, -(-y.size // PART))
    # Where one index of the outer axes is too much for a part, neighbouring lines are split, in whole cache lines.
    lines = threads.spans(inner, min(-(-length * inner // PART), max(1, inner // 64))) if inner > 1 else [slice(None)]
    parts = [(r, slice(None), c)[: len(folded)] for r in rows for c in lines]
    if len(parts) == 1:
        task(parts[0])
    else:
        threads.run(task, parts)
    return y
