"""Elementwise formulas on the CPU: split into parts that stay in a core's cache, on all threads."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.cpu import memory, threads

_WORDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}
_WIDE_ROW = 512  # numbers beside which calling NumPy's loop costs little
_WIDE = 2048  # numbers in a row that BLAS sums at memory speed
PART = 1 << 16  # elements worked on at a time: a few arrays of that size stay in a second-level cache together
_LEAST = 1 << 16  # elements that are worth a second thread


def parts(size: int) -> list[slice]:
    """``size`` elements split into parts; one part where handing over to another thread costs more than it gains."""
    if size <= _LEAST:
        return [slice(0, size)]
    return threads.spans(size, 2 * -(-size // (2 * PART)))  # an even number gives two threads the same work


@functools.lru_cache(maxsize=16)
def _row(value: float, dtype: np.dtype) -> np.ndarray:
    row = np.full(PART, value, dtype)
    row.flags.writeable = False
    return row


def row_of(value: float, like: np.ndarray) -> np.ndarray:
    """A row of one number, for a part: ``maximum`` and ``minimum`` take three times as long with a scalar."""
    return _row(value, like.dtype)[: like.size]


def pixels(a: np.ndarray) -> np.ndarray:
    """(..., C) as (...) without copying: each run of C numbers becomes one item; the C numbers must be adjacent."""
    nbytes = a.shape[-1] * a.itemsize
    return a.view(_WORDS.get(nbytes, f"V{nbytes}"))[..., 0]


def copy_pixels(target: np.ndarray, source: np.ndarray) -> None:
    """target = source, item by item: on runs of a few numbers this takes half as long as ``copyto``."""
    np.copyto(pixels(target), pixels(source))


def column_sums(a: np.ndarray) -> np.ndarray:
    """Sums over the rows of a C-contiguous matrix, in its dtype: a product with ones.

    BLAS goes through a few long rows up to four times as fast as through many short ones, and it handles short ones in
    one thread at a time.
    """
    rows, columns = a.shape
    if not a.size:
        return np.zeros(columns, a.dtype)
    fold = max(1, min(rows, _WIDE // columns))
    whole = rows // fold * fold
    long = a[:whole].reshape(-1, fold * columns)
    sums = np.matmul(np.ones(len(long), a.dtype), long)
    if fold == 1:
        return sums
    total: np.ndarray = sums.reshape(fold, columns).sum(axis=0)
    total += a[whole:].sum(axis=0)
    return total


def rectify(out: np.ndarray, axes: int) -> None:
    """max(out, 0) in place, with an array of zeros over the last ``axes`` axes; see :func:`row_of`."""
    np.maximum(out, np.zeros(out.shape[-axes:], out.dtype), out=out)


@functools.lru_cache(maxsize=1024)
def broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """``numpy.broadcast_shapes``, which takes as long as adding two small arrays."""
    return a if a == b else np.broadcast_shapes(a, b)


def widened(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two operands of an elementwise function whose result has this shape, quicker to go through.

    Where one operand is a short row for each image, as a channel's factors are, NumPy calls its loop for each run of
    so few numbers. So that row is repeated along the axis before, up to a tenth of the result.
    """
    if len(shape) < 3 or shape[-1] >= _WIDE_ROW or a.ndim != b.ndim or math.prod(shape) < _LEAST:
        return a, b
    return _repeated(a, shape), _repeated(b, shape)


def _repeated(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if a.shape[-1] != shape[-1] or a.shape[-2] == shape[-2] or a.shape[-3] == shape[-3]:
        return a
    return np.repeat(a, shape[-2], axis=-2) if a.size * shape[-2] * 10 <= math.prod(shape) else a


def quiet() -> np.errstate:
    """Logarithms of 0 and the like give infinities and NaN silently, as in PyTorch and on a GPU."""
    return np.errstate(all="ignore")


def over(task: Callable[[slice], object], size: int) -> None:
    """Call ``task(part)`` for all :func:`parts`, on all threads."""
    found = parts(size)
    if len(found) == 1:
        task(found[0])
    else:
        threads.run(task, found)


def in_blocks(formula: Callable[..., Any], dtype: Any, *arrays: np.ndarray) -> np.ndarray:
    """``formula(*arrays)`` with as many elements, computed part by part.

    Parameters
    ----------
    formula : callable
        Works elementwise on the arrays' flat parts.
    dtype : numpy dtype
        Of the result.
    arrays : numpy.ndarray
        C-contiguous, all of one shape.
    """
    y = memory.empty(arrays[0].shape, dtype)
    target, flat = y.reshape(-1), [a.reshape(-1) for a in arrays]

    def task(part: slice) -> None:
        with quiet():
            if isinstance(formula, np.ufunc):
                formula(*(a[part] for a in flat), out=target[part])
            else:
                target[part] = formula(*(a[part] for a in flat))

    over(task, y.size)
    return y
