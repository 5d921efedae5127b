"""One pass over many tensors on the CPU, in blocks that stay in cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.cpu import threads

# Elements the CPU works on at a time: they stay in the last-level cache, and the NumPy calls, 1 us each, are
# few by comparison. Parts of 2^15 in the second-level cache took half as long again.
_PART = 1 << 18

_LEAST = 1 << 15  # elements of all tensors together: with more, a second thread is worth waking


def on_blocks(update: Callable[..., Any], *columns: Sequence[Any]) -> list[list[Any]]:
    """Call ``update(tensor's number, *its parts)`` for every cache-sized block of every tensor, on all threads.

    Parameters
    ----------
    update : callable
        Works in place on flat views of the tensor's arrays (None where there is none). What it computes may
        depend only on its block, so that the bits are the same for any number of threads.
    columns : sequences of numpy.ndarray or None
        C-contiguous; the first has an array for every tensor.

    Returns
    -------
    list of list
        For each tensor what ``update`` returned for its blocks, in their order.
    """
    flat: list[list[Any]] = [[None if a is None else a.reshape(-1) for a in column] for column in columns]
    # The loss reports infinities and NaN; NumPy's warnings are not needed.
    if sum([a.size for a in flat[0]]) <= _LEAST:  # less work than waking a thread, and no tensor has two blocks
        with np.errstate(all="ignore"):
            return [[update(i, *parts)] if parts[0].size else [] for i, parts in enumerate(zip(*flat, strict=True))]
    # An even number of parts gives two threads the same work.
    parts = [threads.spans(a.size, 2 * -(-a.size // (2 * _PART)) if a.size > _LEAST else 1) for a in flat[0]]
    results: list[list[Any]] = [[None] * len(found) for found in parts]
    pieces = [(i, block) for i, found in enumerate(parts) for block in range(len(found))]

    def task(piece: tuple[int, int]) -> None:
        i, block = piece
        part = parts[i][block]
        results[i][block] = update(i, *(None if column[i] is None else column[i][part] for column in flat))

    with np.errstate(all="ignore"):
        threads.run(task, pieces)
    return results


def scratch(like: np.ndarray, count: int) -> np.ndarray:
    """``count`` scratch arrays like ``like``, kept by this thread between calls."""
    return threads.scratch.array("multi_tensor", (count, *like.shape), like.dtype)


def working_gradient(p: np.ndarray, g: np.ndarray, decay: Any, sign: Any, room: np.ndarray) -> np.ndarray:
    """sign * g + decay * p, in ``room`` unless that is g itself."""
    if decay:  # 0 times an infinite parameter would be NaN
        d = np.multiply(p, decay, out=room)
        if abs(sign) != 1:  # a factor, not a sign
            return np.add(d, sign * g, out=d)
        return (np.add if sign == 1 else np.subtract)(d, g, out=d)
    return g if sign == 1 else np.multiply(g, sign, out=room)
