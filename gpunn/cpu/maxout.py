"""Maxout on the CPU: the winner's code by ``maximum``, in parts that stay in cache, on all threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunn.cpu import threads
from gpunn.cpu.elementwise import PART, quiet
from gpunn.cpu.masking import keep_where


def maxout_forward(x: np.ndarray, plain: Callable[..., tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The fast body of ``maxout_forward``; ``plain`` is its plain one, for parts with NaN."""
    outer, k, inner = x.shape
    y, winner = np.empty((outer, inner), x.dtype), np.empty((outer, inner), np.uint8)

    def task(part: slice) -> None:
        pieces, best, code = x[part], y[part], winner[part]
        best[...] = pieces[:, 0]
        code[...] = 0
        with quiet():
            for i in range(1, k):
                # Codes ascend, so the last piece that beat all before it has the largest; the first wins ties.
                beats = pieces[:, i] > best
                np.maximum(code, beats.view(np.uint8) * np.uint8(i), out=code)
                np.maximum(best, pieces[:, i], out=best)
            if (best != best).any():
                best[...], code[...] = plain(np, pieces)

    threads.run(task, _blocks(outer, k, inner))
    return y, winner


def maxout_backward(dy: np.ndarray, winner: np.ndarray, k: int) -> np.ndarray:
    """The fast body of ``maxout_backward``."""
    outer, inner = dy.shape
    dx = np.empty((outer, k, inner), dy.dtype)

    def task(part: slice) -> None:
        for i in range(k):
            keep_where(winner[part] == i, dy[part], dx[part, i])

    threads.run(task, _blocks(outer, k, inner))
    return dx


def _blocks(outer: int, k: int, inner: int) -> list[slice]:
    return threads.spans(outer, max(1, -(-outer * k * inner // PART)))
