"""Registries whose entries the garbage collector takes out: it may run at any allocation, so also while one is read."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import _storage, cuda
from gpunn.gpu.graph_memory import GraphMemory


class _Cycle:
    """Garbage that only the collector finds."""

    def __init__(self, held: Any, dies: Callable[[], None]) -> None:
        self.held, self.me, self._dies = held, self, dies

    def __del__(self) -> None:
        self._dies()


def _graphs() -> tuple[Callable[[], Any], Any, Callable[[], None]]:
    class Pool:
        def total_bytes(self) -> int:
            return 3

    pools = [Pool() for _ in range(20)]
    GraphMemory.pools.update(pools)
    return cuda._held_by_graphs, None, lambda: GraphMemory.pools.discard(pools[-1])


def _views() -> tuple[Callable[[], Any], Any, Callable[[], None]]:
    base = gpunn.tensor(np.zeros((20, 3), np.float32))
    views = [base[i] for i in range(20)]
    dying = [views.pop()]
    return lambda: (base._storage.others(base), views), dying, lambda: None


def _copies() -> tuple[Callable[[], Any], Any, Callable[[], None]]:
    base = gpunn.tensor(np.zeros((4, 20, 5), np.float32))
    views = [base[:, i, ::2] for i in range(20)]
    for view in views:
        view.reshape(-1)
        view._view.copied = True
        _storage.note_view(view)
    dying = [views.pop()]
    return lambda: (_storage.forget_copies(), views), dying, lambda: None


@pytest.mark.parametrize("registry", [_graphs, _views, _copies])
def test_an_entry_dies_while_the_registry_is_read(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphMemory, "pools", set())
    threshold = gc.get_threshold()
    try:
        for allocations in range(1, 60):
            read, held, dies = registry()
            gc.collect()
            gc.disable()
            _Cycle(held, dies)
            del held
            gc.set_threshold(allocations)
            gc.enable()
            read()
            gc.set_threshold(*threshold)
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
