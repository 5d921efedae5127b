"""Average pooling on the CPU: blocks of images, averages of small images as a product, sums of large images."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn.cpu import threads
from gpunn.cpu.elementwise import quiet

Block = tuple[slice, slice]  # images, and rows of each

# -- blocks ---------------------------------------------------------------------------------------


def blocks(images: int, rows: int, nbytes: int, most: int, least: int) -> list[Block]:
    """Runs of images of an array of ``nbytes``, or of one image's rows where an image is too large.

    Each has about ``most`` bytes; less than ``least`` is not worth a second thread and stays together.
    """
    if not images:
        return []
    each = nbytes // images
    if nbytes < least:
        return [(slice(0, images), slice(0, rows))]
    if each <= most:
        # An even number gives two threads the same work.
        return [(part, slice(0, rows)) for part in threads.spans(images, 2 * -(-nbytes // (2 * most)))]
    cuts = threads.spans(rows, 2 * -(-each // (2 * most)))
    return [(slice(n, n + 1), part) for n in range(images) for part in cuts]


def image_blocks(x: np.ndarray) -> list[slice]:
    """Runs of images of at most 1 MB, to stay in cache while worked on; an even number, for two threads."""
    return threads.spans(len(x), 1 if x.nbytes <= 1 << 18 else 2 * -(-x.nbytes // (1 << 21)))


# -- averages of small and of whole images --------------------------------------------------------

_SMALL = 64  # pixels up to which an image's averages are a product with a matrix of its pixels' shares

_RUN = 256  # rows that a product adds up one by one

_LONG = 4096  # numbers in the rows of a large image


@functools.lru_cache(maxsize=256)
def shares(rows: tuple[tuple[int, int], ...], columns: tuple[tuple[int, int], ...], height: int, width: int) -> Any:
    """(P Q, H W) with ones where a pixel is in a window, given the rows and columns that windows cover."""
    vertical, horizontal = np.zeros((len(rows), height)), np.zeros((len(columns), width))
    for matrix, parts in ((vertical, rows), (horizontal, columns)):
        for line, (start, stop) in zip(matrix, parts, strict=True):
            line[start:stop] = 1
    return np.kron(vertical, horizontal)


def is_small(pixels: int, outputs: int) -> bool:
    """Whether :func:`average_small` is faster; products of one row with one column do not go to BLAS."""
    return 1 < pixels <= _SMALL and outputs > 1


def average_small(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> bool:
    """y[n] = matrix x[n] over pixels; False if anything is infinite or NaN, which it spreads over the image."""
    n, c = len(x), x.shape[3]
    matrix = matrix.astype(x.dtype)
    source, target = (a.reshape(n, a.shape[1] * a.shape[2], c) for a in (x, y))

    def task(part: slice) -> None:
        if c == 1:
            np.matmul(source[part, :, 0], matrix.T, out=target[part, :, 0])
        else:
            np.matmul(matrix, source[part], out=target[part])

    with quiet():
        threads.run(task, threads.spans(n, max(1, max(x.nbytes, y.nbytes) >> 18)))
        return bool(np.isfinite(y).all())


def sum_images(x: np.ndarray, y: np.ndarray) -> None:
    """y (N, 1, 1, C) = the sums over each image of x (N, H, W, C)."""
    n, h, w, c = x.shape
    flat = x.reshape(n, h * w, c)

    def task(part: slice) -> None:
        if c == 1:
            flat[part, :, 0].sum(axis=1, out=y[part, 0, 0, 0])  # pairwise
            return
        if h * w <= _RUN:
            np.matmul(ones, flat[part], out=y[part, 0])
            return
        # In a large image BLAS sums long rows twice as fast as short ones, so it is viewed as fewer, longer rows.
        for image, total in zip(flat[part], y[part, 0, 0], strict=True):
            sums = np.matmul(ones[0, : whole // fold], image[:whole].reshape(whole // fold, fold * c))
            np.add(sums.reshape(fold, c).sum(axis=0), image[whole:].sum(axis=0), out=total)

    ones = np.ones((1, h * w), x.dtype)
    fold = max(1, min(h * w, _LONG // c))
    whole = h * w // fold * fold
    with quiet():
        # BLAS multiplies short rows by a matrix in one thread at a time.
        threads.run(task, image_blocks(x) if c == 1 or h * w > _RUN else [slice(0, n)])


def fill_images(share: np.ndarray, dx: np.ndarray) -> None:
    """Every pixel of dx (N, H, W, C) = ``share`` (N, 1, 1, C)."""
    n, h, w, c = dx.shape
    target, source = dx.reshape(n, h * w, c), share.reshape(n, 1, c)

    def task(part: slice) -> None:
        target[part] = source[part]

    threads.run(task, image_blocks(dx))
