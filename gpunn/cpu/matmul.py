"""Matrix products on the CPU: split into pieces by shape, on all threads."""

from __future__ import annotations

import numpy as np

from gpunn.cpu import memory, threads
from gpunn.cpu.elementwise import rectify

_FLAT = 128  # rows of C up to which transposing it pays
_WIDTH = 192  # rows or columns of C in a piece: narrower ones cost BLAS more than other cores gain
_NARROW = 64  # where neither is long
_SMALL = 1 << 21  # multiply-adds that are not worth handing to other threads
_FEW = 4  # fewer products than this do not keep the threads busy by themselves


def gemm(a: np.ndarray, b: np.ndarray, form: str, bias: np.ndarray | None = None, relu: bool = False) -> np.ndarray:
    """The fast body of ``gemm``."""
    left, right = (a.T if form[0] == "t" else a), (b.T if form[1] == "t" else b)
    (m, k), n = left.shape, right.shape[1]
    c = memory.empty((m, n), a.dtype)
    # With few rows BLAS takes up to 1.4 times as long with the large b transposed as with a: then c is transposed.
    turned = form == "nt" and 2 * m <= min(n, 2 * _FLAT) and m * n * k >= _SMALL

    def task(part: tuple[slice, slice]) -> None:
        rows, columns = part
        block = c[part]
        if turned:
            room = threads.scratch.array("gemm", block.shape[::-1], c.dtype)
            block[...] = np.matmul(b[columns], a[rows].T, out=room).T
        else:
            np.matmul(left[rows], right[:, columns], out=block)
        if bias is not None:
            block += bias[columns]
        if relu:
            rectify(block, 1)

    threads.run(task, _cut(m, n, k))
    return c


def matmul_batched(a: np.ndarray, b: np.ndarray, form: str) -> np.ndarray:
    """The fast body of ``matmul_batched``."""
    left, right = (a.swapaxes(1, 2) if form[0] == "t" else a), (b.swapaxes(1, 2) if form[1] == "t" else b)
    n, m, k = max(len(a), len(b)) if len(a) and len(b) else 0, left.shape[1], left.shape[2]
    c = memory.empty((n, m, right.shape[2]), a.dtype)

    def task(item: tuple[slice, tuple[slice, slice]]) -> None:
        part, (rows, columns) = item
        of_left, of_right = (part if len(v) > 1 else slice(None) for v in (left, right))
        np.matmul(left[of_left, rows], right[of_right, :, columns], out=c[part, rows, columns])

    # Whole matrices, several to a piece; few large ones are split as in gemm.
    pieces = threads.spans(n, max(1, min(16, n * m * k * c.shape[2] // _SMALL)))
    cuts = _cut(m, c.shape[2], k) if n < _FEW else [(slice(0, m), slice(0, c.shape[2]))]
    threads.run(task, [(part, cut) for part in pieces for cut in cuts])
    return c


def _cut(m: int, n: int, k: int) -> list[tuple[slice, slice]]:
    """Split C (M, N) into pieces along its rows, or along its columns if only they are long.

    The split depends on shape alone and never divides the sum over K: the numbers do not depend on the threads.
    """
    if m * k * n < _SMALL:
        return [(slice(0, m), slice(0, n))]
    if m < 2 * _WIDTH <= n:
        return [(slice(0, m), part) for part in threads.spans(n, _pieces(n, _WIDTH))]
    width = _WIDTH if m >= 2 * _WIDTH else _NARROW
    return [(part, slice(0, n)) for part in threads.spans(m, _pieces(m, width))]


def _pieces(length: int, width: int) -> int:
    """How many pieces of at least ``width``: one or an even number, which is fair to two threads."""
    pieces = min(16, length // width)
    return pieces - pieces % 2 if pieces > 1 else 1
