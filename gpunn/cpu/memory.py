"""Large arrays on the CPU, from memory that is used again.

A C library gives blocks of some hundred KB and more straight back to the operating system, which has to clear every
page that is asked for the next time. A training step allocates and frees the same arrays each time: for CIFAR's
ResNet-20 at batch 128 that was 25,000 page faults and a fifth of the step. So blocks that arrays leave behind are kept
here, as CuPy's memory pool does on a GPU, and go to the next array of about that size. They begin at a cache line.

The memory of an array goes back when the last view of it dies. Nothing else changes: these are ordinary NumPy arrays.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np

_LEAST = 1 << 17  # bytes: from here on glibc maps pages of their own
_LINE = 64  # bytes of a cache line, and of the longest vector: a vector that lies across two lines takes twice as long
_STEPS = 8  # sizes between two powers of two: at most an eighth of a block is unused


def _limit() -> int:
    """Bytes that may lie unused: a quarter of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):  # not on this system
        return 1 << 30


class _Loan(weakref.ref[np.ndarray]):
    """Knows when an array and all its views are gone, and whose memory it was."""

    __slots__ = ("block",)
    block: memoryview


class _Pool:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unused = 0
        self._blocks: dict[int, list[memoryview]] = {}
        self._lent: dict[int, _Loan] = {}
        self._returned: deque[_Loan] = deque()
        self.start_over()

    def start_over(self) -> None:
        # One thread may come twice: a garbage collection within the lock may run code that makes arrays.
        self._lock = threading.RLock()

    @property
    def unused(self) -> int:
        """Bytes of the blocks that are kept."""
        with self._lock:
            self._take_back()
            return self._unused

    def array(self, nbytes: int) -> np.ndarray:
        """An uninitialised array of bytes, whose memory comes back when it and its views are gone."""
        size = _rounded(nbytes)
        with self._lock:
            self._take_back()
            kept = self._blocks.get(size)
            block = kept.pop() if kept else None
            if block is not None:
                self._unused -= size
        if block is None:
            block = self._fresh(size)
        # A view's base is the first array that does not own its memory: this one, and not the block's.
        holder = np.frombuffer(block, np.uint8, nbytes)
        # What is called when the array dies must not be Python code: a Ctrl-C in there would be lost.
        loan = _Loan(holder, self._returned.append)
        loan.block = block
        self._lent[id(loan)] = loan
        return holder

    def _fresh(self, size: int) -> memoryview:
        try:
            return _aligned(size)
        except MemoryError:
            self.clear()
            return _aligned(size)

    def _take_back(self) -> None:
        while self._returned:
            loan = self._returned.popleft()
            block = self._lent.pop(id(loan)).block
            if self._unused + block.nbytes <= self._limit:
                self._unused += block.nbytes
                self._blocks.setdefault(block.nbytes, []).append(block)

    def clear(self) -> None:
        """Give everything that is unused back to the operating system."""
        with self._lock:
            self._take_back()
            self._blocks, self._unused = {}, 0


def _aligned(size: int) -> memoryview:
    """So many bytes of memory, from the beginning of a line of the cache on."""
    block = np.empty(size + _LINE, np.uint8)
    start = -block.ctypes.data % _LINE
    return block.data[start : start + size]


def _rounded(nbytes: int) -> int:
    step = max(1, (1 << (nbytes - 1).bit_length()) // (2 * _STEPS))
    return -(-nbytes // step) * step


_pool = _Pool(_limit())
if hasattr(os, "register_at_fork"):  # a forked child has the parent's lock as it happened to be
    os.register_at_fork(after_in_child=_pool.start_over)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """``numpy.empty``, from memory that other arrays left behind if it is large."""
    kind = np.dtype(dtype)
    nbytes = math.prod(shape) * kind.itemsize
    if nbytes < _LEAST:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, _pool.array(nbytes))


def empty_like(array: np.ndarray) -> np.ndarray:
    """An uninitialised C-contiguous array of the same shape and dtype."""
    return empty(array.shape, array.dtype)
