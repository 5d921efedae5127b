"""Backward through a max pooling and the convolution before it, on the CPU, without the gradient between the two.

For non-overlapping windows that gradient is the pooled one at one of R * S positions, and zeros elsewhere. A
convolution would first copy it to another order that suits its products. So the pooled gradient is written in that
order directly, for all elements of the windows, by masks over long runs of numbers. An image would be written in runs
of one pixel, and then read again. This covers only the ways of convolving that mostly precede large poolings; for the
others :func:`backward` returns None.

The steps are few and large, and plans hold all that does not depend on the numbers: two threads that both make calls
of some 10 us wait for the GIL longer than they compute.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gpunn._window import Window, closed
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d import ways, winograd_rows
from gpunn.cpu.conv2d.direct import lower
from gpunn.cpu.conv2d.tasks import Images, Output, Problem, Products, Task, sizes, sum_products, tasks
from gpunn.cpu.elementwise import column_sums, pixels
from gpunn.cpu.masking import INTEGERS, keep_where
from gpunn.cpu.max_pool2d_tiled import Places, codes_of, places, spread, tiles

Three = tuple[bool, bool, bool]
Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]


def backward(
    dy: np.ndarray,
    offset: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    pool: Window,
    needs: Three,
) -> Gradients | None:
    """The gradients of x, weight and bias from that of the pooled output, or None where this way does not apply.

    dy (N, P, Q, K) of any strides, and offset (N, P, Q, K), of the pooling.
    """
    shape, dx = weight.shape, None
    way = ways.choose_unpooled(Problem(len(x), window, shape, groups, x.dtype), pool, needs)
    if way is None:
        return None
    if way == "lowered":
        works: list[threads.Work[Any]] = [_weight_gradient(dy, offset, x, shape, window, pool)]
    else:
        dy = np.ascontiguousarray(dy)
        dz = _Unpooled(dy, offset, pool)
        works = [winograd_rows.weight_gradient(dz, Images(x), shape, window)]
        if needs[0]:
            dx = memory.empty(x.shape, x.dtype)
            _, back = ways.backwards(window)
            works.append(winograd_rows.forward(Output(dx), dz, ways.turned(weight, 1), back, None, False))
    # Larger items before smaller ones, so that no thread starts a large one when the others have finished.
    if needs[2]:
        works.append(_bias_gradient(dy, offset))
    dweight, *others = threads.run_all(*works)
    return dx, dweight, others[-1] if needs[2] else None


def _bias_gradient(dy: np.ndarray, offset: np.ndarray) -> threads.Work[np.ndarray]:
    """The sums of the gradient between the two: those of the pooled one, except for windows that a ReLU closed."""
    n, p, q, k = offset.shape
    parts = tasks(n, p, 2 * q * k * dy.itemsize)
    sums = np.zeros((len(parts), k), dy.dtype)

    def task(number: int) -> None:
        codes = offset[parts[number]]
        opened = threads.scratch.array("won", codes.shape, np.bool_)
        given = threads.scratch.array("opened", codes.shape, dy.dtype)
        np.not_equal(codes, closed(codes.dtype), out=opened)
        np.copyto(given, dy[parts[number]])
        keep_where(opened, given, given)
        sums[number] = column_sums(given.reshape(-1, k))

    yield task, range(len(parts))
    return sums.sum(axis=0)


# -- lowered rows ---------------------------------------------------------------------------------


def _weight_gradient(
    dy: np.ndarray, offset: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window, pool: Window
) -> threads.Work[np.ndarray]:
    """dweight by lowered rows.

    The columns of an output take ``pool.S`` turns: every S-th column is a convolution with S times the stride.
    """
    k, r, s, c = shape
    turns = [_every(window, pool, b) for b in range(pool.S)]
    types = dy.dtype, offset.dtype

    def products_of(part: Task) -> Iterator[Products]:
        images, rows = part
        plan = threads.scratch.plan(_pooled, images.stop - images.start, rows.stop - rows.start, pool, k, *types)
        np.copyto(plan.dy, dy[part].transpose(1, 0, 2, 3))
        np.copyto(plan.offset, offset[part].transpose(1, 0, 2, 3))
        of_image = slice(rows.start * pool.R, rows.stop * pool.R)
        for turn, elements in zip(turns, plan.turns, strict=True):
            elements.fill(plan.bits, plan.offset)
            yield slice(None), plan.gradient, lower(x[images], turn, of_image).by_row[None]

    # The lowered rows of a turn and its part of the gradient, for one row of the pooled images.
    row_bytes = pool.R * pool.Q * (s * c + k) * x.itemsize
    parts = tasks(len(x), pool.P, row_bytes * pool.S)
    dweight = yield from sum_products(parts, products_of, (1, k, r * s * c), x.dtype, sizes().sums)
    return dweight.reshape(shape)


@functools.lru_cache(maxsize=1024)
def _every(window: Window, pool: Window, first: int) -> Window:
    """The convolution of every ``pool.S``-th column of outputs from ``first`` on, as many as are pooled."""
    (down, across), (top, left) = window.stride, window.padding
    step, start = across * pool.S, left - first * across
    reach = (pool.Q - 1) * step + window.dilation[1] * (window.S - 1) + 1
    ends = window.after[0], reach - window.W - start
    return Window(window.H, window.W, window.R, window.S, (down, step), (top, start), window.dilation, False, ends)


class _Pooled(NamedTuple):
    """Some rows of pooled images, as (P, n, Q, K): each row of all images is one run."""

    dy: np.ndarray
    bits: np.ndarray  # of dy, as integers
    offset: np.ndarray
    turns: list[Places]  # for each column of the windows; (R, P, n, Q, K)
    gradient: np.ndarray  # of one turn's columns, as a stack of matrices (1, R P, K, n Q)


def _pooled(n: int, p: int, pool: Window, k: int, dtype: np.dtype, code: np.dtype) -> _Pooled:
    shape, array = (p, n, pool.Q, k), threads.scratch.array
    dy, gradient = array("dy", shape, dtype), array("turned", (p, pool.R, *shape[1:]), dtype)
    turns = [places(codes, gradient.swapaxes(0, 1)) for codes in codes_of(pool, code).T]
    matrices = gradient.reshape(1, pool.R * p, n * pool.Q, k).transpose(0, 1, 3, 2)
    return _Pooled(dy, dy.view(INTEGERS[dtype.itemsize]), array("offset", shape, code), turns, matrices)


# -- Winograd along the rows ----------------------------------------------------------------------


class _Unpooled(winograd_rows.Gradient):
    """The gradient between the two, materialised only for the images that a task is working on."""

    whole = True

    def __init__(self, dy: np.ndarray, offset: np.ndarray, pool: Window) -> None:
        super().__init__(dy)
        self._bits, self._offset, self._pool = dy.view(INTEGERS[dy.itemsize]), offset, pool

    def padded(self, images: slice, top: int, left: int, count: int, width: int) -> np.ndarray:
        some = self._bits[images]
        frame = threads.scratch.plan(_frame, *some.shape, self._pool, self._x.dtype, top, left, count, width)
        spread(some, self._offset[images], self._pool, frame.inside, self._x.dtype)
        return frame.array

    def strips(self, images: slice, points: int) -> winograd_rows.GradientStrips:
        some = self._x[images]
        types = some.dtype, self._offset.dtype
        plan = threads.scratch.plan(_unpooled_strips, points, len(some), self._pool, some.shape[3], *types)
        source, codes = pixels(some).swapaxes(0, 1), pixels(self._offset[images]).swapaxes(0, 1)
        every = len(plan.pooled)
        for h, (gradient, offset) in enumerate(plan.pooled):
            np.copyto(gradient, source[:, :, h::every])
            np.copyto(offset, codes[:, :, h::every])
        for elements in plan.rows:
            elements.fill(plan.bits, plan.offset)
        if plan.beyond.size:
            np.copyto(plan.beyond, 0)
        return plan.strips


class _Frame(NamedTuple):
    """Some images of the gradient among zeros."""

    inside: np.ndarray  # pixels of the pooling windows' elements
    array: np.ndarray


def _frame(
    n: int, p: int, q: int, k: int, pool: Window, dtype: np.dtype, top: int, left: int, count: int, width: int
) -> _Frame:
    array = threads.scratch.zeros((n, count, width, k), dtype)
    return _Frame(tiles(array[:, -top:, -left:], pool, p), array)


class _Strips(NamedTuple):
    """Strips of some images of the gradient, and the pooled images in their order."""

    pooled: list[tuple[np.ndarray, np.ndarray]]  # pixels (P, n, strips) of the gradient and offset of a strip's window
    bits: np.ndarray  # of the gradient, as integers (windows of a strip, P, n, strips, K)
    offset: np.ndarray
    rows: list[Places]  # for each row of the windows; (S, windows of a strip, P, n, strips, K)
    beyond: np.ndarray  # rows that no window reaches
    strips: winograd_rows.GradientStrips


def _unpooled_strips(points: int, n: int, pool: Window, k: int, dtype: np.dtype, code: np.dtype) -> _Strips:
    strips = winograd_rows.gradient_strips(points, n, pool.H, pool.W, k, dtype)
    every, reached = winograd_rows.STRIP // pool.S, pool.P * pool.R
    count = strips.gathered.shape[3]
    # Windows of the last strip that are beyond the image have a gradient of zero, written here once for all.
    dy = threads.scratch.zeros((every, pool.P, n, count, k), dtype)
    offset = threads.scratch.zeros(dy.shape, code)
    gathered = strips.gathered[:, :reached].reshape(every, pool.S, pool.P, pool.R, n, count, k)
    rows = [places(codes, gathered[:, :, :, a].swapaxes(0, 1)) for a, codes in enumerate(codes_of(pool, code))]
    pooled = [
        (pixels(dy)[h, :, :, : len(range(h, pool.Q, every))], pixels(offset)[h, :, :, : len(range(h, pool.Q, every))])
        for h in range(every)
    ]
    bits = dy.view(INTEGERS[dtype.itemsize])
    return _Strips(pooled, bits, offset, rows, strips.gathered[:, reached:], strips)
