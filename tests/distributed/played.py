"""Groups of ranks that are played in one process, where there need be no MPI."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np


class SameRows:
    """Ranks that all have what this one has.

    Attributes
    ----------
    size : int
    calls : list of str
        What was called, in order.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.calls: list[str] = []

    def channel(self, where: Any) -> Any:
        """What answers for the others."""

        def gather(own: Any, into: Any) -> Any:
            self.calls.append("all_gather")
            with where.active():
                into[...] = own
            return SimpleNamespace(wait=lambda: None)

        def reduce(array: Any) -> Any:
            self.calls.append("all_reduce")
            with where.active():
                array *= self.size
            return SimpleNamespace(wait=lambda: None)

        return SimpleNamespace(all_gather=gather, all_reduce=reduce)


class OtherRows:
    """Ranks with the rest of a batch: this one is rank 0.

    Parameters
    ----------
    rest : list of array
        x (rows, C) of the others.
    sums : array (2, C), optional
        What the others add in backward.
    """

    def __init__(self, rest: list[np.ndarray], sums: np.ndarray | None = None) -> None:
        self.size, self.rest, self.sums = len(rest) + 1, rest, sums
        self.calls: list[str] = []

    def channel(self, where: Any) -> Any:
        """What answers for the others."""

        def gather(own: Any, into: Any) -> Any:
            self.calls.append("all_gather")
            parts = [where.to_host(own)]
            for x in self.rest:
                none = np.zeros(x.shape[1])
                mean, var = (x.mean(axis=0), x.var(axis=0)) if len(x) else (none, none)
                parts.append(np.concatenate([mean, var, [len(x)]]))
            with where.active():
                into[...] = where.array(np.stack(parts).astype(own.dtype))
            return SimpleNamespace(wait=lambda: None)

        def reduce(array: Any) -> Any:
            self.calls.append("all_reduce")
            assert self.sums is not None
            with where.active():
                array += where.array(self.sums.astype(array.dtype))
            return SimpleNamespace(wait=lambda: None)

        return SimpleNamespace(all_gather=gather, all_reduce=reduce)
