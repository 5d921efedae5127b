"""Max pooling in NumPy: the fast bodies of ``max_pool2d``.

NumPy's cost is its inner loops: over the 20 channels of one pixel in three it is all overhead. So every element (r, s)
of the window is copied to where its outputs lie side by side, pixels as single items of that many bytes, and the
arithmetic runs over whole rows. Forward goes along each row first, then from row to row; backward adds up what
comes to every stride-th input before it writes there once. Blocks depend on the shape alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import threads
from gpunn.launcher import ceil_div
from gpunn.ops._blocks import copy_pixels, pixels, rectify
from gpunn.ops._masking import keep_where
from gpunn.ops._pooling import taps
from gpunn.ops.geometry import Window

_BLOCK = 1 << 21  # bytes of the larger side that are worked on at a time: NumPy's calls for it take 35 us by themselves
_LEAST = 6 << 20  # bytes that are worth a second thread: with less, 25 calls wait for the GIL longer than they take

Block = tuple[slice, slice]  # images, and rows of each (of y forward, of every stride-th of dx backward)


def _blocks(images: int, rows: int, nbytes: int) -> list[Block]:
    """Runs of images, or of one image's rows where an image is too much, of arrays of ``nbytes``."""
    if not images:
        return []
    each = nbytes // images
    if nbytes < _LEAST:
        return [(slice(0, images), slice(0, rows))]
    if each <= _BLOCK:
        # An even number: two threads then have the same work.
        return [(part, slice(0, rows)) for part in threads.spans(images, 2 * ceil_div(nbytes, 2 * _BLOCK))]
    cuts = threads.spans(rows, 2 * ceil_div(each, 2 * _BLOCK))
    return [(slice(n, n + 1), part) for n in range(images) for part in cuts]


def _along_rows(window: Window, *arrays: np.ndarray) -> tuple[Window, list[np.ndarray]]:
    """The same pooling; where images are one pixel wide (sequences) their rows are seen as one row of pixels."""
    if window.W > 1 or window.Q > 1 or window.S > 1:
        return window, list(arrays)
    w = window
    turned = Window(1, w.H, 1, w.R, (1, w.stride[0]), (w.padding[1], w.padding[0]), (1, w.dilation[0]), w.ceil_mode)
    return turned, [a.reshape(len(a), 1, a.shape[1], a.shape[3]) for a in arrays]


# -- forward --------------------------------------------------------------------------------------


def forward(x: np.ndarray, window: Window, flat: bool, relu: bool, y: np.ndarray, offset: np.ndarray) -> list[slice]:
    """Fill y (N, P, Q, C), or (N, C, P, Q) if flat, and offset (N, P, Q, C).

    Returns
    -------
    list of slice
        Images whose outputs are wrong: they have NaN, or windows of minus infinities, which beat nothing.
    """
    window, (x, offset) = _along_rows(window, x, offset)
    n, p, q, c = offset.shape
    y = y.reshape((n, c, p, q) if flat else offset.shape)
    wrong: dict[int, slice] = {}

    def task(block: Block) -> None:
        images, rows = block
        out = y[images].transpose(0, 2, 3, 1)[:, rows] if flat else y[images, rows]
        best = _room("y", out.shape, y.dtype) if flat else out
        _best_of_rows(x[images], rows, window, best, offset[images, rows])
        if not best.min() > -np.inf:
            wrong[images.start] = images
        if relu:
            _rectify(best, offset[images, rows])
        if flat:
            out[...] = best

    threads.run(task, _blocks(n, p, max(x.nbytes, y.nbytes)))
    return list(wrong.values())


def _room(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    found: np.ndarray = threads.scratch.array(f"max_pool2d {name}", shape, dtype)
    return found


def _rectify(best: np.ndarray, offset: np.ndarray) -> None:
    """best = max(best, 0), offset = CLOSED unless it is above 0; both in place."""
    opened = _room("won", best.shape, np.bool_)
    np.greater(best, 0, out=opened)
    closed = opened.view(np.uint8)
    closed -= np.uint8(1)  # 1 and 0 become 0 and 255
    np.bitwise_or(offset, closed, out=offset)
    rectify(best, 2)


def _best_of_rows(x: np.ndarray, rows: slice, window: Window, y: np.ndarray, offset: np.ndarray) -> None:
    """The outputs of ``rows``, from what is best in each row of a window. Ties stay with the first element."""
    step, spread, pad = window.stride[0], window.dilation[0], window.padding[0]
    top = max(0, rows.start * step - pad)
    end = min(window.H, (rows.stop - 1) * step - pad + (window.R - 1) * spread + 1)
    best, codes = _best_in_rows(x[:, top : max(top, end)], window)
    won = _room("won", y.shape, np.bool_)
    share = _room("share", y.shape, np.uint8)
    held: Any = None  # the best of the rows so far
    for r, (to, at) in enumerate(taps(window, 0)):
        first, last = max(to.start, rows.start), min(to.stop, rows.stop)
        if first >= last:
            continue
        begin = at.start + (first - to.start) * step - top
        those = np.s_[:, begin : begin + (last - first - 1) * step + 1 : step]
        row, code = best[those], np.uint8(r * window.S)
        whole = (first, last) == (rows.start, rows.stop)
        if held is None and whole:
            held = row
            np.add(codes[those], code, out=offset)
            continue
        if held is None:
            y[...], offset[...] = -np.inf, 0
            held = y
        part = np.s_[:, first - rows.start : last - rows.start]
        np.greater(row, held[part], out=won[part])
        np.maximum(row, held[part], out=y[part])
        if held is not y and not whole:
            _copy_rest(held, y, part[1])
        held = y
        # Codes rise, so the last row that beat all before it has the largest: a maximum keeps it, where a masked
        # copy would go element by element.
        np.add(codes[those], code, out=share[part])
        share[part] *= won[part].view(np.uint8)
        np.maximum(offset[part], share[part], out=offset[part])
    if held is None:
        y[...], offset[...] = -np.inf, 0
    elif held is not y:
        y[...] = held


def _copy_rest(source: np.ndarray, target: np.ndarray, done: slice) -> None:
    """The rows of ``target`` before and after ``done``."""
    for rest in (slice(0, done.start), slice(done.stop, None)):
        target[:, rest] = source[:, rest]


def _best_in_rows(x: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """For each row of x (N, rows, W, C) the best of every output's elements there, and which it was: s, uint8."""
    shape = (*x.shape[:2], window.Q, x.shape[3])
    codes = _room("codes", shape, np.uint8)
    if window.S == 1:
        codes[...] = 0
    best = x
    for s, (to, at) in enumerate(taps(window, 1)):
        u = x[:, :, at]
        if window.stride[1] > 1 or u.shape != shape:
            u = _room(f"element {min(s, 1)}", shape, x.dtype)
            u[:, :, : to.start] = -np.inf
            u[:, :, to.stop :] = -np.inf
            np.copyto(pixels(u)[:, :, to], pixels(x)[:, :, at])
        if s == 0:
            best = u
            continue
        won = codes if s == 1 else _room("won in row", shape, np.uint8)
        np.greater(u, best, out=won.view(np.bool_))
        into = _room("best", shape, x.dtype)
        best = np.maximum(u, best, out=into)
        if s > 1:
            won *= np.uint8(s)
            np.maximum(codes, won, out=codes)
    return best, codes


# -- backward -------------------------------------------------------------------------------------


def backward(dy: np.ndarray, offset: np.ndarray, window: Window, flat: bool, dx: np.ndarray) -> None:
    """Fill dx (N, H, W, C) from dy (N, P, Q, C), or (N, C, P, Q) if flat."""
    window, (offset, dx) = _along_rows(window, offset, dx)
    n, p, q, c = offset.shape
    dy = dy.reshape(n, c, p, q).transpose(0, 2, 3, 1) if flat else dy.reshape(offset.shape)
    vertical, horizontal = _arrivals(window, 0), _arrivals(window, 1)
    shifts = [k for found in vertical for _, k in found]

    def task(block: Block) -> None:
        images, lines = block
        # Rows of dy that arrive in these lines.
        rows = slice(max(0, lines.start - max(shifts)), max(0, min(p, lines.stop - min(shifts))))
        given = dy[images, rows]
        if flat:
            given = _room("dy", given.shape, dy.dtype)
            given[...] = dy[images, rows]
        for a, from_rows in enumerate(vertical):
            last = min(lines.stop, ceil_div(window.H - a, window.stride[0]))
            if last <= lines.start:
                continue
            inputs = slice(lines.start * window.stride[0] + a, (last - 1) * window.stride[0] + a + 1, window.stride[0])
            ways = [(r, _shift(lines.start, last, k, p), k + rows.start) for r, k in from_rows]
            for b, from_columns in enumerate(horizontal):
                target = dx[images, inputs, b :: window.stride[1]]
                across = [(s, _shift(0, target.shape[2], k, q), k) for s, k in from_columns]
                both = [
                    (np.uint8(r * window.S + s), (down, k), (right, j)) for r, down, k in ways for s, right, j in across
                ]
                _add_up(given, offset[images, rows], both, lines.start, target)

    threads.run(task, _blocks(n, ceil_div(window.H, window.stride[0]), dx.nbytes))


def _arrivals(window: Window, axis: int) -> list[list[tuple[int, int]]]:
    """For each place a of the inputs i stride + a along an axis: the window's elements r that output i - k meets it
    with, as (r, k)."""
    step, spread, pad = window.stride[axis], window.dilation[axis], window.padding[axis]
    found: list[list[tuple[int, int]]] = [[] for _ in range(step)]
    for r in range((window.R, window.S)[axis]):
        k, a = divmod(r * spread - pad, step)
        found[a].append((r, k))
    return found


def _shift(first: int, last: int, k: int, outputs: int) -> slice:
    """Those i of a range for which i - k is an output."""
    start = max(first, k)
    return slice(start, max(start, min(last, outputs + k)))


def _add_up(given: np.ndarray, offset: np.ndarray, ways: list[Any], first: int, target: np.ndarray) -> None:
    """target = the sum of what comes by each of the ways: (code, (rows i, k), (columns j, k))."""
    total = _room("total", target.shape, target.dtype)
    started = False
    for code, (i, k), (j, m) in ways:
        if i.start == i.stop or j.start == j.stop:
            continue
        source = np.s_[:, i.start - k : i.stop - k, j.start - m : j.stop - m]
        won = _room("won", given[source].shape, np.bool_)
        np.equal(offset[source], code, out=won)
        if not started and won.shape == target.shape:
            keep_where(won, given[source], total)
            started = True
            continue
        if not started:
            total[...] = 0
            started = True
        share = _room("share of dy", won.shape, target.dtype)
        keep_where(won, given[source], share)
        total[:, i.start - first : i.stop - first, j] += share
    if started:
        copy_pixels(target, total)
    else:
        target[...] = 0
