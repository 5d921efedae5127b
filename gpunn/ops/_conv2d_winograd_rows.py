"""R x 3 and R x 5 convolution on the CPU by Winograd's minimal filtering along the rows: F(4, 3) and F(4, 5).

For 5 taps, strips of 8 neighbouring columns give 4 columns of outputs: 8 multiplications where a direct convolution
has 20. Along the columns the convolution stays direct, as the depth of the matrix products: in a transformed strip, R
rows of C channels are one run of R*C numbers (the *lowered rows* of ``_conv2d_numpy.py``). So the products stay large
where there are few channels, and the transforms are products with an 8 x 8 matrix, which cost next to nothing. In both
directions 5 x 5 filters would need 64 x 64 transforms, more work than they save at such depths.

The price is rounding: relative to the largest output the error in float32 is up to 5e-6, where a direct convolution has
7e-7 (measured against float64). float64 always takes the direct way.

Source: Lavin and Gray 2015, arXiv:1509.09308, in one direction only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import _host_memory as memory
from gpunn import threads
from gpunn.ops._blocks import copy_pixels
from gpunn.ops._conv2d_blocks import LANES, Task, padded_rows, tasks, view
from gpunn.ops._winograd import finish, flat, is_winograd_enabled, stack, transforms
from gpunn.ops.geometry import Window

import threading, contextlib
LOCK = threading.Lock()
_M = 4  # a strip's outputs
_POINTS = {3: (0.0, 1.0, -1.0, 0.5, -2.0), 5: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)}  # by taps; and infinity
_ONE = 1  # the place of point 1, at which every output counts once: what is added there is added to all of them
_LEAST_DEPTH, _LEAST_GRADIENT_DEPTH = 96, 48  # R*C: for less the products are too small
_LEAST_FILTERS = 16
_LEAST_STRIPS = 512  # of a batch, a row of output each: fewer do not pay for transforming the filters
_LEAST_GRADIENT_STRIPS = {3: 512, 5: 64}  # ... of all rows together: the depth of the products for a gradient
_MOST_WASTE = 1.4  # columns of output computed for each that is wanted
_MOST_BYTES = 1 << 20  # of transformed filters: they stay in a core's cache
_SUMS_BYTES = 1 << 18  # of products that are made together and then added up
_PIECE_BYTES = 1 << 30
_DEPTH = 128  # strips at a time for the gradient of the filters: the depth of its products

# Taps S: Bt (T, T), G (T, S) and At (4, T), for strips of T = S + 3 inputs.
_TRANSFORMS = {s: [m.astype(np.float32) for m in transforms(points, _M)] for s, points in _POINTS.items()}


def takes(n: int, window: Window, shape: tuple[int, ...], groups: int, dtype: Any, *, gradient: bool = False) -> bool:
    """Whether ``n`` images and filters (K, R, S, C) are convolved this way, or get their gradient this way."""
    k, r, s, c = shape
    if not (is_winograd_enabled() and dtype == np.float32 and groups == 1 and s in _POINTS):
        return False
    if window.stride != (1, 1) or window.dilation != (1, 1) or (s + _M - 1) * k * r * c * 4 > _MOST_BYTES:
        return False
    strips, depth = n * _strips(window), r * c
    if gradient:
        enough = strips >= _LEAST_GRADIENT_STRIPS[s] and depth >= _LEAST_GRADIENT_DEPTH
    else:
        enough = strips * window.P >= _LEAST_STRIPS and depth >= _LEAST_DEPTH
    if not enough or k < _LEAST_FILTERS:
        return False
    return _strips(window) * _M <= _MOST_WASTE * window.Q


def _strips(window: Window) -> int:
    return -(-window.Q // _M)


def forward(x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool) -> np.ndarray:
    """y = act(x correlated with weight + bias)."""
    k, r, _, c = weight.shape
    y = memory.empty((len(x), window.P, window.Q, k), x.dtype)
    _, g, at = _TRANSFORMS[window.S]
    taps = np.ascontiguousarray(weight.transpose(2, 1, 3, 0)).reshape(window.S, -1)
    filters = (g @ taps).reshape(len(g), 1, r * c, k)

    def task(part: Task) -> None:
        images, rows = part
        n, p = images.stop - images.start, rows.stop - rows.start
        with LOCK:
            windows = _windows(_transformed(x[images], window, rows), window.R)
            products = stack("products", len(g), (p, n * _strips(window), k), x.dtype)
        np.matmul(windows, filters, out=products)
        with LOCK:
            if bias is not None:
                products[_ONE] += bias
            outputs = stack("outputs", _M, (p, n, _strips(window), k), x.dtype)
            np.matmul(at, flat(products), out=flat(outputs))
            _place(outputs, relu, y[images, rows])

    row_bytes = len(g) * _strips(window) * (2 * c + k) * x.itemsize
    threads.run(task, tasks(len(x), window.P, row_bytes))
    return y


def weight_gradient(dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """dweight (K, R, S, C)."""
    k, r, s, c = shape
    strips, g = _strips(window), _TRANSFORMS[s][1]
    parts = threads.spans(len(x), max(2, 2 * (len(x) * strips // (2 * _DEPTH))))  # even: fair to two threads
    lanes = max(1, min(len(parts), LANES))
    everything = slice(0, window.P)
    # Each lane owns every lanes-th task and one partial sum, to which it adds in order.
    partial = np.zeros((lanes, len(g), k, r * c), x.dtype)
    together = max(1, _SUMS_BYTES // (len(g) * k * r * c * x.itemsize))

    def task(lane: int) -> None:
        for images in parts[lane::lanes]:
            windows = _windows(_transformed(x[images], window, everything), r)
            gradients = _transformed_gradient(dz[images], s).transpose(0, 1, 3, 2)
            for p in range(0, window.P, together):
                rows = slice(p, p + together)
                left = gradients[:, rows]
                products = threads.scratch.array("products", (*left.shape[:3], r * c), x.dtype)
                np.matmul(left, windows[:, rows], out=products)
                partial[lane] += products[:, 0] if left.shape[1] == 1 else products.sum(axis=1)

    threads.run(task, range(lanes))
    total = partial.sum(axis=0).reshape(len(g), -1)
    return np.ascontiguousarray((g.T @ total).reshape(s, k, r, c).transpose(1, 2, 0, 3))


def _transformed(x: np.ndarray, window: Window, rows: slice) -> np.ndarray:
    """Bt times the strips of some images, for these output rows: (T, n * strips, rows, C)."""
    bt = _TRANSFORMS[window.S][0]
    n, c = len(x), x.shape[3]
    strips, count = _strips(window), rows.stop - rows.start + window.R - 1
    width = strips * _M + window.S - 1
    transformed = stack("strips", len(bt), (n * strips, count, c), x.dtype)
    result = flat(transformed)
    for images in _pieces(n, transformed.nbytes):
        padded = padded_rows(x[images], rows.start - window.padding[0], -window.padding[1], count, width)
        gathered = stack("copies", len(bt), (len(padded), strips, count, c), x.dtype)
        s0, s1, s2, s3 = padded.strides
        copy_pixels(gathered, view(padded, gathered.shape, (s2, s0, s2 * _M, s1, s3)))
        one = strips * count * c
        np.matmul(bt, flat(gathered), out=result[:, images.start * one : images.stop * one])
    return transformed


def _pieces(length: int, nbytes: int) -> list[slice]:
    """Images or rows to transform at a time, where all of them make so many bytes."""
    return threads.spans(length, -(-nbytes // _PIECE_BYTES))


def _windows(transformed: np.ndarray, r: int) -> np.ndarray:
    """The overlapping matrices (T, P, n * strips, R*C) in transformed strips: R rows follow each other in memory."""
    size, strips, count, c = transformed.shape
    s0, s1, s2, s3 = transformed.strides
    return view(transformed, (size, count - r + 1, strips, r * c), (s0, s2, s1, s3))


def _place(outputs: np.ndarray, relu: bool, y: np.ndarray) -> None:
    """y = act(outputs); outputs (4, P, n, strips, K), of which the last strip may reach beyond the image."""
    n, p, q, k = y.shape
    turned = outputs.transpose(2, 1, 3, 0, 4)
    whole = q // _M
    s0, s1, s2, s3 = y.strides
    places = [(view(y, (n, p, whole, _M, k), (s0, s1, s2 * _M, s2, s3)), turned[:, :, :whole])]
    if whole * _M < q:
        places.append((y[:, :, whole * _M :], turned[:, :, whole, : q - whole * _M]))
    finish(outputs, relu, *places)


def _transformed_gradient(dz: np.ndarray, taps: int) -> np.ndarray:
    """A times the strips of a gradient of outputs: (T, P, n * strips, K)."""
    at = _TRANSFORMS[taps][2]
    n, p, q, k = dz.shape
    strips, whole = -(-q // _M), q // _M
    transformed = stack("gradients", at.shape[1], (p, n * strips, k), dz.dtype)
    result = flat(transformed)
    s0, s1, s2, s3 = dz.strides
    for rows in _pieces(p, transformed.nbytes):
        source = dz[:, rows]
        gathered = stack("copies", _M, (source.shape[1], n, strips, k), dz.dtype)
        target = gathered.transpose(2, 1, 3, 0, 4)
        copy_pixels(target[:, :, :whole], view(source, (n, source.shape[1], whole, _M, k), (s0, s1, s2 * _M, s2, s3)))
        if whole < strips:
            rest = q - whole * _M
            copy_pixels(target[:, :, whole, :rest], source[:, :, whole * _M :])
            target[:, :, whole, rest:] = 0
        one = n * strips * k
        np.matmul(at.T, flat(gathered), out=result[:, rows.start * one : rows.stop * one])
    return transformed
