"""Large arrays on the CPU, from memory that is reused.

The C library returns blocks of some hundred KB and more straight to the operating system, which has to clear every
page that is requested the next time. A training step allocates and frees the same arrays each time: for CIFAR's
ResNet-20 at batch 128 that was 25,000 page faults and a fifth of the step. So freed blocks are kept here, as CuPy's
memory pool does on a GPU, and serve the next array of about that size. They begin at a cache line.

An array's memory is returned when its last view dies. Nothing else changes: these are ordinary NumPy arrays.
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
_LINE = 64  # bytes of a cache line, and of the longest vector: a vector that crosses two lines takes twice as long
_LOOSE = 4  # a kept block may be larger than what is asked for by one part in so many
_STEPS = 8  # sizes between two powers of two: at most an eighth of a block is unused


def _limit() -> int:
    """Bytes that may be kept unused: a quarter of the machine's memory."""
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
        # One thread may enter twice: a garbage collection inside the lock may run code that makes arrays.
        self._lock = threading.RLock()

    @property
    def unused(self) -> int:
        """Bytes of the blocks that are kept."""
        with self._lock:
            self._take_back()
            return self._unused

    def array(self, nbytes: int) -> np.ndarray:
        """An uninitialised array of bytes, whose memory returns here when it and its views are gone."""
        size = _rounded(nbytes)
        with self._lock:
            self._take_back()
            block = self._kept(size)
        if block is None:
            block = self._fresh(size)
        # A view's base is the first array that does not own its memory: this one, not the block's.
        holder = np.frombuffer(block, np.uint8, nbytes)
        # The callback when the array dies must not be Python code: a Ctrl-C in there would be lost.
        loan = _Loan(holder, self._returned.append)
        loan.block = block
        self._lent[id(loan)] = loan
        return holder

    def _kept(self, size: int) -> memoryview | None:
        """A kept block of at least ``size`` bytes, or None.

        Then others are given up, the longest kept first, so that the process grows only where its arrays do: where each
        layer has a size of its own, as in a DenseNet, blocks that fit nothing would otherwise pile up.
        """
        if size not in self._blocks:
            size = min((kept for kept in self._blocks if size < kept <= size + size // _LOOSE), default=size)
        if size in self._blocks:
            return self._remove(size)
        enough = self._unused - size
        while self._blocks and self._unused > enough:
            self._remove(next(iter(self._blocks)))
        return None

    def _remove(self, size: int) -> memoryview:
        kept = self._blocks[size]
        block = kept.pop()
        if not kept:
            del self._blocks[size]
        self._unused -= size
        return block

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
        """Return everything unused to the operating system."""
        with self._lock:
            self._take_back()
            self._blocks, self._unused = {}, 0


def _aligned(size: int) -> memoryview:
    """``size`` bytes of memory, aligned to a cache line."""
    block = np.empty(size + _LINE, np.uint8)
    start = -block.ctypes.data % _LINE
    return block.data[start : start + size]


def _rounded(nbytes: int) -> int:
    step = max(1, (1 << (nbytes - 1).bit_length()) // (2 * _STEPS))
    return -(-nbytes // step) * step


_pool = _Pool(_limit())
if hasattr(os, "register_at_fork"):  # a forked child inherits the parent's lock in whatever state it was
    os.register_at_fork(after_in_child=_pool.start_over)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """``numpy.empty``; a large array reuses memory that other arrays have freed."""
    kind = np.dtype(dtype)
    nbytes = math.prod(shape) * kind.itemsize
    if nbytes < _LEAST:
        return np.empty(shape, kind)
    return np.ndarray(shape, kind, _pool.array(nbytes))


def empty_like(array: np.ndarray) -> np.ndarray:
    """An uninitialised C-contiguous array of the same shape and dtype."""
    return empty(array.shape, array.dtype)
