"""Layer normalisation in NumPy: the fast bodies of ``layer_norm``.

Rows are taken in blocks that stay in a processor's cache, one operation after another in place. Blocks
depend on the shape alone and what they found is added up in order: the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import threads

_BLOCK = 1 << 18  # bytes


def _blocks(x: np.ndarray, most: int | None = None) -> list[list[slice]]:
    """Blocks of rows in at most ``most`` groups, each done by one thread; a group for each block if None."""
    cuts = threads.spans(len(x), max(1, x.nbytes // _BLOCK))
    if most is None:
        return [[cut] for cut in cuts]
    return [cuts[part] for part in threads.spans(len(cuts), most)]


def _means(u: np.ndarray, ones: np.ndarray) -> np.ndarray:
    """Mean of each row, as a column."""
    return np.matmul(u, ones)[:, None] / u.dtype.type(len(ones))


def forward(x: np.ndarray, weight: Any, bias: Any, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean is found twice, the second time of what the first left over: a mean far from 0 costs no digits."""
    rows, cols = x.shape
    y = np.empty_like(x)
    mean, rstd = np.empty((2, rows), x.dtype)
    ones = np.ones(cols, x.dtype)

    def task(cuts: list[slice]) -> None:
        for cut in cuts:
            u = x[cut]
            about = _means(u, ones)
            v = np.subtract(u, about, out=y[cut])
            rest = _means(v, ones)
            v -= rest
            var = np.einsum("ij,ij->i", v, v) / x.dtype.type(cols)
            mean[cut] = (about + rest)[:, 0]
            rstd[cut] = 1 / np.sqrt(var + x.dtype.type(eps))
            v *= rstd[cut, None]
            if weight is not None:
                v *= weight
            if bias is not None:
                v += bias

    threads.run(task, _blocks(x))
    return y, mean, rstd


def backward(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: Any, needs: tuple[bool, bool, bool]
) -> tuple[Any, Any, Any]:
    """One pass: a block's xhat serves dx and the sums over rows."""
    rows, cols = x.shape
    need_dx, need_dweight, need_dbias = needs
    dx = np.empty_like(x) if need_dx else None
    ones = np.ones(cols, x.dtype)
    # The sums of a group of blocks are as long as a row: groups of at least four rows keep them smaller than x.
    groups = _blocks(x, max(1, min(16, rows // 4)) if need_dweight or need_dbias else None)
    dweights = np.zeros((len(groups), cols)) if need_dweight else None
    dbiases = np.zeros((len(groups), cols)) if need_dbias else None

    def task(number: int) -> None:
        for cut in groups[number]:
            d = dy[cut]
            down = np.ones(len(d), x.dtype)
            xhat, room = (threads.scratch.array(f"layer_norm {n}", d.shape, x.dtype) for n in range(2))
            np.subtract(x[cut], mean[cut, None], out=xhat)
            xhat *= rstd[cut, None]
            if dbiases is not None:
                dbiases[number] += np.matmul(down, d)
            if dweights is not None:
                dweights[number] += np.matmul(down, np.multiply(d, xhat, out=room))
            if dx is not None:
                g = d if weight is None else np.multiply(d, weight, out=room)
                out = np.subtract(g, _means(g, ones), out=dx[cut])
                xhat *= np.einsum("ij,ij->i", g, xhat)[:, None] / x.dtype.type(cols)
                out -= xhat
                out *= rstd[cut, None]

    threads.run(task, range(len(groups)))
    return (
        dx,
        None if dweights is None else dweights.sum(axis=0).astype(x.dtype),
        None if dbiases is None else dbiases.sum(axis=0).astype(x.dtype),
    )
