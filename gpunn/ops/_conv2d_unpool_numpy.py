"""Back through a max pooling and the convolution before it, on the CPU, without the gradient between the two.

Where the pooling's windows lie side by side, that gradient is the pooled one in one place of R * S, and zeros. What a
convolution does with it begins by copying it to another order, in which its products can use it. So the pooled
gradient goes there at once, an element of the window at a time: each is a mask over long runs of numbers, where to
write an image takes runs of one pixel, and then it is read again. Only the two ways of convolving that large poolings
stand behind are done so; for the others, :func:`backward` gives None.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpunn import threads
from gpunn.ops import _conv2d_numpy as ways
from gpunn.ops._blocks import column_sums
from gpunn.ops._conv2d_blocks import Products, Task, sum_products, tasks
from gpunn.ops._masking import INTEGERS
from gpunn.ops._pooling import CLOSED
from gpunn.ops.geometry import Window

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
    """The gradients of x, weight and bias from that of the pooled output, or None where this is not the way.

    dy (N, P, Q, K) of any strides, offset alike: of the pooling.
    """
    if not (x.size and _tiles(pool) and groups == 1 and needs[1]):
        return None
    if not needs[0] and ways.gradient_way(len(x), window, weight.shape, groups, x.dtype) == "lowered":
        dweight, sums = _weight_gradient(dy, offset, x, weight.shape, window, pool)
        return None, dweight, sums
    return None


def _tiles(pool: Window) -> bool:
    """Whether the pooling's windows lie side by side, all of each in the image."""
    side_by_side = pool.stride == (pool.R, pool.S) and pool.dilation == (1, 1)
    return side_by_side and pool.padding == (0, 0) and pool.P * pool.R <= pool.H and pool.Q * pool.S <= pool.W


def _weight_gradient(
    dy: np.ndarray, offset: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window, pool: Window
) -> tuple[np.ndarray, np.ndarray]:
    """dweight by lowered rows, and the sums of the gradient between the two over all pixels.

    The columns of an output are taken in ``pool.S`` turns: every S-th column is a convolution with S times the stride.
    """
    k, r, s, c = shape
    sums: dict[tuple[int, int], np.ndarray] = {}
    turns = [_every(window, pool, b) for b in range(pool.S)]

    def products_of(part: Task) -> Iterator[Products]:
        images, rows = part
        plan = threads.scratch.plan(_pooled, images.stop - images.start, rows.stop - rows.start, pool, k, dy.dtype)
        plan.take(dy[part].transpose(1, 0, 2, 3), offset[part].transpose(1, 0, 2, 3))
        sums[images.start, rows.start] = column_sums(plan.rows)
        of_image = slice(rows.start * pool.R, rows.stop * pool.R)
        for turn, codes in zip(turns, plan.codes_of_turns, strict=True):
            plan.place(codes)
            yield slice(None), plan.gradient, ways.lower(x[images], turn, of_image).by_row[None]

    # The lowered rows of a turn and its part of the gradient, which are as large as a row's of the pooled.
    row_bytes = pool.R * pool.Q * (s * c + k) * x.itemsize
    parts = tasks(len(x), pool.P, row_bytes * pool.S)
    dweight = sum_products(parts, products_of, (1, k, r * s * c), x.dtype, ways.SUMS_BYTES)
    total = np.sum([sums[place] for place in sorted(sums)], axis=0, dtype=x.dtype)
    return dweight.reshape(shape), total


class _Pooled(NamedTuple):
    """Some rows of pooled images, as (P, n, Q, K): each row of all images is one run."""

    dy: np.ndarray
    codes: np.ndarray
    bits: np.ndarray  # those of dy, as integers
    rows: np.ndarray  # dy as a matrix of K columns
    won: np.ndarray  # for each row of a window and one of its columns, which outputs took that element: (R, P, n, Q, K)
    won_numbers: np.ndarray  # the same memory, as 0 and 1
    mask: np.ndarray  # these as wide as dy's numbers
    places: np.ndarray  # in the gradient, of the same shape
    gradient: np.ndarray  # of those columns of the convolution's outputs, as a stack of matrices (1, R P, K, n Q)
    codes_of_turns: list[np.ndarray]  # for each column of a window the codes of its elements

    def take(self, dy: np.ndarray, codes: np.ndarray) -> None:
        """Have the gradient of pooled images, and zeros where a ReLU is closed."""
        np.copyto(self.dy, dy)
        np.copyto(self.codes, codes)
        np.not_equal(self.codes, CLOSED, out=self.won[0])
        np.copyto(self.mask[0], self.won_numbers[0])
        np.multiply(self.bits, self.mask[0], out=self.bits)

    def place(self, codes: np.ndarray) -> None:
        """Put it where the elements with these codes are."""
        np.equal(self.codes, codes, out=self.won)
        np.copyto(self.mask, self.won_numbers)
        np.multiply(self.bits, self.mask, out=self.places)


def _pooled(n: int, p: int, pool: Window, k: int, dtype: np.dtype) -> _Pooled:
    shape, array, integer = (p, n, pool.Q, k), threads.scratch.array, INTEGERS[dtype.itemsize]
    dy, codes = array("dy", shape, dtype), array("codes", shape, np.uint8)
    won, mask = array("won", (pool.R, *shape), np.bool_), array("mask", (pool.R, *shape), integer)
    gradient = array("turned", (p, pool.R, *shape[1:]), dtype)
    matrices = gradient.reshape(1, pool.R * p, n * pool.Q, k).transpose(0, 1, 3, 2)
    elements = np.arange(pool.R * pool.S, dtype=np.uint8).reshape(pool.R, pool.S)
    turns = [np.ascontiguousarray(column).reshape(-1, 1, 1, 1, 1) for column in elements.T]
    places = gradient.view(integer).swapaxes(0, 1)
    return _Pooled(
        dy, codes, dy.view(integer), dy.reshape(-1, k), won, won.view(np.int8), mask, places, matrices, turns
    )


def _every(window: Window, pool: Window, first: int) -> Window:
    """The convolution of every ``pool.S``-th column of outputs from ``first`` on, as many as are pooled."""
    (down, across), (top, left) = window.stride, window.padding
    step, start = across * pool.S, left - first * across
    reach = (pool.Q - 1) * step + window.dilation[1] * (window.S - 1) + 1
    ends = window.after[0], reach - window.W - start
    return Window(window.H, window.W, window.R, window.S, (down, step), (top, start), window.dilation, False, ends)
