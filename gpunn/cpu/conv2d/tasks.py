"""How the CPU's convolutions split a batch, and the padded images they start from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpunn._window import Window
from gpunn.cpu import threads

LANES = 8  # partial sums of a gradient, each of which some tasks add to in order


class Sizes(NamedTuple):
    """Where work is split, in bytes."""

    # Of a task's copies and outputs. More of them leave the second-level cache (1 MB per core and more); fewer mean
    # more NumPy calls, each of which has to reacquire the GIL.
    block: int = 1 << 21
    least: int = 1 << 20  # of a convolution that is worth a second task: each holds the GIL for some 30 µs
    whole_image: int = 1 << 20  # of an image that tasks take whole, if they must: larger ones are split into rows
    batch: int = 1 << 24  # of an unrolled or transformed batch that all threads share
    sums: int = 3 << 17  # of products that are made together and then added up
    row_sums: int = 1 << 18  # the same for Winograd along the rows
    depth: int = 128  # strips at a time for the gradient of the filters: the depth of its products (not bytes)


_sizes = Sizes()


def sizes() -> Sizes:
    """The sizes in use now."""
    return _sizes


@contextlib.contextmanager
def cut_by(others: Sizes) -> Iterator[None]:
    """Within this block, split work by other sizes in the whole process: for tests, which have small images."""
    global _sizes
    outer, _sizes = _sizes, others
    try:
        yield
    finally:
        _sizes = outer


class Problem(NamedTuple):
    """What determines how a convolution is computed: its geometry, known before any number is read."""

    n: int  # images
    window: Window
    shape: tuple[int, ...]  # of the filters: (K, R, S, C / groups)
    groups: int
    dtype: np.dtype


Task = tuple[slice, slice]  # images, output rows


class Output:
    """Where the tasks of a convolution write their images, and what else is done with them."""

    whole = False  # whether a task must have whole images

    def __init__(self, y: np.ndarray) -> None:
        self._y = y

    def block(self, images: slice, rows: slice) -> np.ndarray:
        """The array that a task is to fill with some rows of some images."""
        return self._y[images, rows]

    def done(self, images: slice, block: np.ndarray) -> None:
        """Called by the task when it has filled ``block``."""


def tasks(n: int, rows: int, row_bytes: int, most: int | None = None, *, whole: bool = False) -> list[Task]:
    """Split ``n`` images of ``rows`` output rows into tasks of about ``sizes().block`` bytes, at ``row_bytes`` a row.

    By shape alone, never by the number of threads. ``most`` limits their number; ``whole``: no image is split.
    """
    total = n * rows * row_bytes
    if not total:
        return [(slice(0, n), slice(0, rows))] if n * rows else []
    parts = 1 if total < sizes().least else 2 * -(-total // (2 * sizes().block))  # even: fair to two threads
    if most is not None:
        parts = max(1, min(parts, most))
    if parts <= n or whole:
        return [(images, slice(0, rows)) for images in threads.spans(n, parts)]
    return [(slice(i, i + 1), part) for i in range(n) for part in threads.spans(rows, -(-parts // n))]


Products = tuple[slice, np.ndarray, np.ndarray]  # the part of the sum they belong to; (T, P, K, D) and (T, P, D, L)


def sum_products(
    parts: list[Task],
    products_of: Callable[[Task], Iterator[Products]],
    shape: tuple[int, ...],
    dtype: Any,
    most: int = 0,
) -> threads.Work[np.ndarray]:
    """The sum (T, K, L) = ``shape`` of all matrix products from the parts of a batch.

    Each lane owns every lanes-th part and one partial sum, to which it adds in order. About ``most`` bytes of products,
    at least one of the P, are computed together and then added up.
    """
    lanes = max(1, min(len(parts), LANES))
    partial = np.zeros((lanes, *shape), dtype)

    def task(lane: int) -> None:
        for part in parts[lane::lanes]:
            for place, left, right in products_of(part):
                total = partial[lane, place]
                together = max(1, most // max(1, total.nbytes))
                for p in range(0, left.shape[1], together):
                    some = left[:, p : p + together]
                    products = threads.scratch.array("products", (*some.shape[:2], *shape[1:]), dtype)
                    np.matmul(some, right[:, p : p + together], out=products)
                    np.add(total, products[:, 0] if some.shape[1] == 1 else products.sum(axis=1), out=total)

    yield task, range(lanes)
    return partial.sum(axis=0)


class Images:
    """Where the tasks of a convolution get their images from."""

    whole = False  # whether a task must take whole images

    def __init__(self, x: np.ndarray) -> None:
        self._x = x

    def __len__(self) -> int:
        return len(self._x)

    def padded(self, images: slice, top: int, left: int, count: int, width: int) -> np.ndarray:
        """:func:`padded_rows` of some images."""
        return padded_rows(self._x[images], top, left, count, width)


def padded_rows(x: np.ndarray, top: int, left: int, count: int, width: int) -> np.ndarray:
    """``count`` rows of ``width`` columns of some images, from (top, left) on, with zeros outside the image.

    The result is in this thread's scratch memory, or a view of x where no zeros are needed.
    """
    if top >= 0 and left >= 0 and top + count <= x.shape[1] and left + width <= x.shape[2]:
        return x[:, top : top + count, left : left + width]
    frame = threads.scratch.plan(_frame, x.shape, x.dtype, top, left, count, width)
    np.copyto(frame.inside, x[frame.part])
    return frame.array


class _Frame(NamedTuple):
    """A part of some images inside a border of zeros, which stays for the next images of this shape."""

    array: np.ndarray
    inside: np.ndarray
    part: tuple[slice, ...]


def _frame(shape: tuple[int, ...], dtype: np.dtype, top: int, left: int, count: int, width: int) -> _Frame:
    n, h, w, c = shape
    above = min(count, max(0, -top))
    below = max(above, min(count, h - top))
    before = min(width, max(0, -left))
    after = max(before, min(width, w - left))
    array = threads.scratch.zeros((n, count, width, c), dtype)
    part = np.s_[:, top + above : top + below, left + before : left + after]
    return _Frame(array, array[:, above:below, before:after], part)


def view(array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """``as_strided``, ten times as fast where the array is contiguous (0.3 for 3 µs: a task makes several)."""
    if array.flags.c_contiguous:
        return np.ndarray(shape, array.dtype, array, 0, strides)
    return as_strided(array, shape, strides)
