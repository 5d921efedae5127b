"""Max pooling in NumPy: the fast bodies of ``max_pool2d``.

NumPy's cost is its inner loops: over the 20 channels of one pixel in three it is all overhead. So every element (r, s)
of the window is copied to where its outputs are adjacent, pixels as single items of that many bytes, and the
arithmetic runs over whole rows. Forward goes along each row first, then from row to row; backward adds up the
gradients of every stride-th input before it writes there once. Blocks depend on the shape alone.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from gpunn._window import Window, closed, taps
from gpunn.cpu import max_pool2d_tiled as tiled
from gpunn.cpu import threads
from gpunn.cpu.elementwise import copy_pixels, pixels, rectify
from gpunn.cpu.masking import keep_where
from gpunn.cpu.max_pool2d_tiled import is_tiled
from gpunn.cpu.pooling import Block, blocks

_BLOCK = 1 << 21  # bytes of the larger side to work on at a time: the overhead of NumPy's calls for it is 35 us
_LEAST = 6 << 20  # bytes that are worth a second thread: with less, 25 calls wait for the GIL longer than they take


def _along_rows(window: Window, *arrays: np.ndarray) -> tuple[Window, list[np.ndarray]]:
    """The same pooling; where images are one pixel wide (sequences) their rows are viewed as one row of pixels."""
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
        Images whose outputs are wrong: they contain NaN, or windows of minus infinities, which beat nothing.
    """
    window, (x, offset) = _along_rows(window, x, offset)
    n, p, q, c = offset.shape
    y = y.reshape((n, c, p, q) if flat else offset.shape)
    wrong: dict[int, slice] = {}

    def task(block: Block) -> None:
        images, rows = block
        if not pool_block(x[images], rows, window, flat, relu, y[images], offset[images]):
            wrong[images.start] = images

    threads.run(task, blocks(n, p, max(x.nbytes, y.nbytes), _BLOCK, _LEAST))
    return list(wrong.values())


def pool_block(
    x: np.ndarray, rows: slice, window: Window, flat: bool, relu: bool, y: np.ndarray, offset: np.ndarray
) -> bool:
    """Fill ``rows`` of some images' y and offset; False if they are wrong, as in :func:`forward`."""
    out, codes = y.transpose(0, 2, 3, 1)[:, rows] if flat else y[:, rows], offset[:, rows]
    best = _room("y", out.shape, y.dtype) if flat else out
    _best_of_rows(x, rows, window, best, codes)
    right = bool(best.min(initial=np.inf) > -np.inf)
    if relu:
        _rectify(best, codes)
    if flat:
        out[...] = best
    return right


def _room(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    found: np.ndarray = threads.scratch.array(f"max_pool2d {name}", shape, dtype)
    return found


def _rectify(best: np.ndarray, offset: np.ndarray) -> None:
    """best = max(best, 0), offset = ``closed`` where it is not above 0; both in place."""
    shut = _room("won", best.shape, np.bool_)
    np.less_equal(best, 0, out=shut)
    if offset.itemsize == 1:  # copyto goes element by element
        bits = shut.view(np.uint8)
        np.negative(bits, out=bits)  # 1 becomes 255
        np.bitwise_or(offset, bits, out=offset)
    else:
        np.copyto(offset, closed(offset.dtype), where=shut)
    rectify(best, 2)


class _Element(NamedTuple):
    """An element of the window in each row of the images."""

    at: slice  # the columns it reads, for the outputs for which it is inside the image
    # A copy with these adjacent for all outputs, and the pixels they are copied to; None if they already are adjacent.
    copied: tuple[np.ndarray, np.ndarray] | None
    beyond: list[np.ndarray]  # the rest of the copy


class _Line(NamedTuple):
    """A row of the window."""

    source: slice  # of the rows pooled along their length
    part: slice  # the outputs for which it is inside the image
    whole: bool  # whether these are all
    code: Any  # of its first element


class _Forward(NamedTuple):
    """Pooling a block of images, for some rows of outputs: everything that does not depend on the numbers."""

    rows: slice  # of the images
    elements: list[_Element]
    best: np.ndarray  # of each row, (n, rows, Q, C)
    codes: np.ndarray  # which element that was
    won_in_row: np.ndarray  # 0 or 1, in numbers of that type
    lines: list[_Line]
    won: np.ndarray  # (n, P, Q, C)
    share: np.ndarray


def _forward_plan(window: Window, n: int, start: int, stop: int, c: int, dtype: np.dtype, code: np.dtype) -> _Forward:
    (step, across), pad = window.stride, window.padding[0]
    top = max(0, start * step - pad)
    end = max(top, min(window.H, (stop - 1) * step - pad + (window.R - 1) * window.dilation[0] + 1))
    shape = (n, end - top, window.Q, c)
    elements = []
    for s, (to, at) in enumerate(taps(window, 1)):
        if across == 1 and to == slice(0, window.Q):
            elements.append(_Element(at, None, []))
            continue
        copy = _room(f"element {min(s, 1)}", shape, dtype)
        beyond = [part for part in (copy[:, :, : to.start], copy[:, :, to.stop :]) if part.size]
        elements.append(_Element(at, (copy, pixels(copy)[:, :, to]), beyond))
    lines = []
    for r, (to, at) in enumerate(taps(window, 0)):
        first, last = max(to.start, start), min(to.stop, stop)
        if first < last:
            begin = at.start + (first - to.start) * step - top
            source = slice(begin, begin + (last - first - 1) * step + 1, step)
            part = slice(first - start, last - start)
            lines.append(_Line(source, part, (first, last) == (start, stop), code.type(r * window.S)))
    outputs = (n, stop - start, window.Q, c)
    return _Forward(
        slice(top, end),
        elements,
        _room("best", shape, dtype),
        _room("codes", shape, code),
        _room("won in row", shape, code),
        lines,
        _room("won", outputs, np.bool_),
        _room("share", outputs, code),
    )


def _best_of_rows(x: np.ndarray, rows: slice, window: Window, y: np.ndarray, offset: np.ndarray) -> None:
    """The outputs of ``rows``, from the best of each row of a window. The first element wins ties."""
    key = window, len(x), rows.start, rows.stop, x.shape[3], x.dtype, offset.dtype
    plan = threads.scratch.plan(_forward_plan, *key)
    best = _best_in_rows(x[:, plan.rows], plan)
    held: Any = None  # the best of the rows so far
    for line in plan.lines:
        row, codes = best[:, line.source], plan.codes[:, line.source]
        if held is None and line.whole:
            held = row
            np.add(codes, line.code, out=offset)
            continue
        if held is None:
            y[...], offset[...] = -np.inf, 0
            held = y
        won, share, found = plan.won[:, line.part], plan.share[:, line.part], offset[:, line.part]
        np.greater(row, held[:, line.part], out=won)
        np.maximum(row, held[:, line.part], out=y[:, line.part])
        if held is not y and not line.whole:
            _copy_rest(held, y, line.part)
        held = y
        # Codes ascend, so the last row that beat all before it has the largest. A maximum keeps it, whereas a masked
        # copy would go element by element.
        np.add(codes, line.code, out=share)
        np.multiply(share, won.view(np.uint8), out=share)
        np.maximum(found, share, out=found)
    if held is None:
        y[...], offset[...] = -np.inf, 0
    elif held is not y:
        y[...] = held


def _copy_rest(source: np.ndarray, target: np.ndarray, done: slice) -> None:
    """Copy the rows before and after ``done`` to ``target``."""
    for rest in (slice(0, done.start), slice(done.stop, None)):
        target[:, rest] = source[:, rest]


def _best_in_rows(x: np.ndarray, plan: _Forward) -> np.ndarray:
    """For each row of x (n, rows, W, C) the best of every output's elements there; plan.codes records which it was."""
    codes, source = plan.codes, pixels(x)
    if len(plan.elements) == 1:
        codes[...] = 0
    best = x
    for s, element in enumerate(plan.elements):
        if element.copied is None:
            u = x[:, :, element.at]
        else:
            u, inside = element.copied
            for part in element.beyond:
                part[...] = -np.inf
            np.copyto(inside, source[:, :, element.at])
        if s == 0:
            best = u
            continue
        won = codes if s == 1 else plan.won_in_row
        if won.itemsize == 1:
            np.greater(u, best, out=won.view(np.bool_))
        else:
            won[...] = np.greater(u, best)
        best = np.maximum(u, best, out=plan.best)
        if s > 1:
            won *= won.dtype.type(s)
            np.maximum(codes, won, out=codes)
    return best


# -- backward -------------------------------------------------------------------------------------


class _Way(NamedTuple):
    """One element of the window, through which gradients reach inputs that are a stride apart."""

    code: Any
    source: tuple[slice, ...]  # the outputs
    won: np.ndarray  # scratch memory for them
    share: np.ndarray
    part: np.ndarray  # the part of the inputs' sums that they add to


class _Place(NamedTuple):
    """Inputs that are a stride apart: where they are, and the gradients that reach them."""

    inputs: tuple[slice, ...]
    total: np.ndarray
    ways: list[_Way]


class _Backward(NamedTuple):
    """Backward for every stride-th of some rows of a block of images: everything that does not depend on the numbers.

    ``rows`` are the rows of outputs that it reads.
    """

    rows: slice
    places: list[_Place]


def _backward_plan(window: Window, n: int, start: int, stop: int, c: int, dtype: np.dtype, code: np.dtype) -> _Backward:
    (down, across), (p, q) = window.stride, (window.P, window.Q)
    vertical, horizontal = _arrivals(window, 0), _arrivals(window, 1)
    shifts = [k for found in vertical for _, k in found]
    rows = slice(max(0, start - max(shifts)), max(0, min(p, stop - min(shifts))))
    places = []
    for a, from_rows in enumerate(vertical):
        last = min(stop, -(-(window.H - a) // down))
        for b, from_columns in enumerate(horizontal):
            width = -(-(window.W - b) // across)
            if last <= start or width <= 0:
                continue
            inputs = np.s_[:, start * down + a : (last - 1) * down + a + 1 : down, b::across]
            total = _room("total", (n, last - start, width, c), dtype)
            ways = []
            for (r, k), (s, m) in itertools.product(from_rows, from_columns):
                i, j = _shift(start, last, k, p), _shift(0, width, m, q)
                if i.start < i.stop and j.start < j.stop:
                    # dy starts at ``rows.start``.
                    source = np.s_[:, i.start - k - rows.start : i.stop - k - rows.start, j.start - m : j.stop - m]
                    shape = (n, i.stop - i.start, j.stop - j.start, c)
                    won, share = _room("won", shape, np.bool_), _room("share of dy", shape, dtype)
                    part = total[:, i.start - start : i.stop - start, j]
                    ways.append(_Way(code.type(r * window.S + s), source, won, share, part))
            places.append(_Place(inputs, total, ways))
    return _Backward(rows, places)


def backward(dy: np.ndarray, offset: np.ndarray, window: Window, flat: bool, dx: np.ndarray) -> None:
    """Fill dx (N, H, W, C) from dy (N, P, Q, C), or (N, C, P, Q) if flat."""
    window, (offset, dx) = _along_rows(window, offset, dx)
    n, p, q, c = offset.shape
    dy = dy.reshape(n, c, p, q).transpose(0, 2, 3, 1) if flat else dy.reshape(offset.shape)
    if is_tiled(window):
        tiled.backward(dy, offset, window, dx)
        return

    def task(block: Block) -> None:
        images, lines = block
        count = images.stop - images.start
        key = window, count, lines.start, lines.stop, c, dy.dtype, offset.dtype
        plan = threads.scratch.plan(_backward_plan, *key)
        given, won, target = dy[images, plan.rows], offset[images, plan.rows], dx[images]
        if flat:
            turned = _room("dy", given.shape, dy.dtype)
            turned[...] = given
            given = turned
        for place in plan.places:
            _add_up(given, won, place, target[place.inputs])

    threads.run(task, blocks(n, -(-window.H // window.stride[0]), dx.nbytes, _BLOCK, _LEAST))


def _arrivals(window: Window, axis: int) -> list[list[tuple[int, int]]]:
    """For each remainder a of the inputs i stride + a along an axis: pairs (r, k).

    Output i - k reads that input with its window's element r.
    """
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


def _add_up(given: np.ndarray, offset: np.ndarray, place: _Place, target: np.ndarray) -> None:
    """target = the sum of the gradients that reach it."""
    total = place.total
    started = False
    for way in place.ways:
        np.equal(offset[way.source], way.code, out=way.won)
        if not started and way.part.shape == total.shape:
            keep_where(way.won, given[way.source], total)
            started = True
            continue
        if not started:
            total[...] = 0
            started = True
        keep_where(way.won, given[way.source], way.share)
        np.add(way.part, way.share, out=way.part)
    if started:
        copy_pixels(target, total)
    else:
        target[...] = 0
