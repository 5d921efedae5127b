"""Activations on the CPU: in place, one cache-sized part at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import over, quiet, row_of
from gpunn.cpu.masking import keep_where


def part_by_part(work: Callable[..., None], *arrays: np.ndarray) -> np.ndarray:
    """An array like the first of ``arrays``, filled by ``work(out, *parts)`` one part at a time, on all threads.

    Parameters
    ----------
    work : callable
        Writes every element of its first argument; all its arguments are flat and of one length.
    arrays : numpy.ndarray
        C-contiguous, all of one shape.
    """
    y = memory.empty_like(arrays[0])
    target, flat = y.reshape(-1), [a.reshape(-1) for a in arrays]

    def task(part: slice) -> None:
        with quiet():
            work(target[part], *(a[part] for a in flat))

    over(task, y.size)
    return y


def scratch(like: np.ndarray, name: str = "activation") -> np.ndarray:
    """Scratch memory of this thread with ``like``'s shape and dtype; the next call with this name overwrites it."""
    found: np.ndarray = threads.scratch.array(name, like.shape, like.dtype)
    return found


def open_or_slope(is_open: np.ndarray, slope: float, factor: np.ndarray) -> None:
    """factor = 1 where ``is_open``, else ``slope``; all flat parts."""
    if 0 <= slope <= 1:
        factor[...] = is_open
        np.maximum(factor, row_of(slope, factor), out=factor)
    else:
        factor.fill(slope)
        one_unless(np.logical_not(is_open), factor)


def one_unless(closed: np.ndarray, factor: np.ndarray) -> None:
    """factor = 1 unless ``closed``, in place, by bit operations: NumPy's ``where`` goes element by element."""
    bits = factor.view(np.int32 if factor.itemsize == 4 else np.int64)
    one = np.ones(1, factor.dtype).view(bits.dtype)
    bits ^= one  # now 1 is what has no bits set
    keep_where(closed, factor, factor)
    bits ^= one


def logistic(out: np.ndarray, x: np.ndarray) -> None:
    """out = 1 / (1 + exp(-x)); exp overflows to infinity far below 0, which gives 0."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    np.divide(row_of(1, out), out, out=out)  # takes half as long as ``reciprocal``
