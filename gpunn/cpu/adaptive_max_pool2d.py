"""Adaptive max pooling on the CPU: the largest of each run of columns, then of those the largest of each run of rows.

So there are P + Q pieces of work instead of one for each of P Q windows. The first of equal elements stands in the
first row that has one, and the last NaN in the last such row. So it is the same element as without the two passes.
"""

from __future__ import annotations

import numpy as np

Segments = tuple[tuple[int, int], ...]


def forward(x: np.ndarray, rows: Segments, columns: Segments) -> tuple[np.ndarray, np.ndarray]:
    """y and index (N, P, Q, C), int64: the place h W + w of y's element, the first of equal ones, or the last NaN."""
    n, height, width, c = x.shape
    p, q = len(rows), len(columns)
    nans = bool(np.isnan(x).any())
    best, column = _largest(x.reshape(n * height, width, c), columns, nans)
    y, row = _largest(best.reshape(n, height, q * c), rows, nans)
    index = row * width + np.take_along_axis(column.reshape(n, height, q * c), row, 1)
    return y.reshape(n, p, q, c), index.reshape(n, p, q, c)


def _largest(x: np.ndarray, parts: Segments, nans: bool) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each part of the middle one of three axes, and where on the axis it is."""
    shape = (len(x), len(parts), x.shape[2])
    if shape == x.shape:  # each part is one element
        return x.copy(), np.broadcast_to(np.arange(len(parts))[:, None], shape)
    y, place = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    for number, (start, stop) in enumerate(parts):
        u = x[:, start:stop]
        found = u.argmax(axis=1, keepdims=True)
        if nans:  # argmax takes the first
            wrong = np.isnan(u)
            last = stop - start - 1 - wrong[:, ::-1].argmax(axis=1, keepdims=True)
            found = np.where(wrong.any(axis=1, keepdims=True), last, found)
        y[:, number : number + 1] = np.take_along_axis(u, found, 1)
        place[:, number : number + 1] = found + start
    return y, place


def backward(dy: np.ndarray, index: np.ndarray, height: int, width: int) -> np.ndarray:
    """dx (N, H, W, C): each dy goes to the element that won its window; several are added in the order of windows."""
    n, p, q, c = dy.shape
    dx = np.zeros((n, height * width, c), dy.dtype)
    image, channel = np.arange(n)[:, None, None], np.arange(c)
    np.add.at(dx, (image, index.reshape(n, p * q, c), channel), dy.reshape(n, p * q, c))
    return dx.reshape(n, height, width, c)
