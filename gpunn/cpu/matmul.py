"""Matrix products on the CPU: cut into pieces by shape, over the threads."""

from __future__ import annotations

from gpunn.cpu import threads

_FLAT = 128  # rows of C up to which turning it pays

_WIDTH = 192  # rows or columns of C in a piece: narrower ones cost BLAS more than other cores gain

_NARROW = 64  # where neither is long

_SMALL = 1 << 21  # multiply-adds that are not worth handing to other threads


def _cut(m: int, n: int, k: int) -> list[tuple[slice, slice]]:
    """Cut C (M, N) into pieces along its rows, or along its columns if only they are long.

    By shape alone, never within the sum over K: the numbers do not depend on the threads.
    """
    if m * k * n < _SMALL:
        return [(slice(0, m), slice(0, n))]
    if m < 2 * _WIDTH <= n:
        return [(slice(0, m), part) for part in threads.spans(n, _pieces(n, _WIDTH))]
    width = _WIDTH if m >= 2 * _WIDTH else _NARROW
    return [(part, slice(0, n)) for part in threads.spans(m, _pieces(m, width))]


def _pieces(length: int, width: int) -> int:
    """How many pieces of at least ``width``; more than one are even in number, which is fair to two threads."""
    pieces = min(16, length // width)
    return pieces - pieces % 2 if pieces > 1 else 1


_FEW = 4  # products, that alone do not keep the threads busy
