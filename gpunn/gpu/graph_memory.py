"""The memory of captured CUDA graphs."""

from __future__ import annotations

import sys
import threading
from typing import Any, ClassVar


class GraphMemory:
    """The memory that a graph's kernels use: it must not be handed out to others between replays.

    CuPy's pool loses its free blocks when it is dropped, and its arrays know it only weakly, so this holds the pool
    until the graph is gone and the last array with it: the loss and the gradients may outlive the graph.
    """

    pools: ClassVar[set[Any]] = set()  # of all GPUs: what they hold counts as used

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._pool = cupy.cuda.MemoryPool()
        self._ordinal = cupy.cuda.runtime.getDevice()
        self._arrays = 0
        self._closed = False
        self._lock = threading.RLock()
        self.pools.add(self._pool)

    def allocate(self, size: int) -> Any:
        """Memory that goes back to the pool when the last array on it is dropped."""
        pointer = self._pool.malloc(size)
        with self._lock:
            self._arrays += 1
        owned = self._cupy.cuda.UnownedMemory(pointer.ptr, size, _Owner(self, pointer), self._ordinal)
        return self._cupy.cuda.MemoryPointer(owned, 0)

    def close(self) -> None:
        """The graph is gone: give back what no array holds, now and whenever one is dropped."""
        self._closed = True
        self._give_back()

    def drop(self) -> None:
        """One array fewer."""
        with self._lock:
            self._arrays -= 1
        if self._closed:
            self._give_back()

    def _give_back(self) -> None:
        with self._cupy.cuda.Device(self._ordinal):
            self._pool.free_all_blocks()
        if not self._arrays:
            self.pools.discard(self._pool)


class _Owner:
    """What one array's memory holds on to."""

    __slots__ = ("_memory", "_pointer")

    def __init__(self, memory: GraphMemory, pointer: Any) -> None:
        self._memory, self._pointer = memory, pointer

    def __del__(self) -> None:
        self._pointer = None  # back to the pool
        if not sys.is_finalizing():
            self._memory.drop()
