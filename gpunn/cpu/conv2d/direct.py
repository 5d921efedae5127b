"""Convolution on the CPU without tricks: lowered rows, the unrolled image, and plain products.

Lowered rows: for each column q of the output, copy the strip of S columns that its windows cover, as
(n, Q, H, S*C). The window of output (p, q) is then one run of R*S*C numbers that starts at row p * stride of
strip q, so the strips of one output row *are* a matrix whose rows overlap in memory. The whole convolution is one
stacked matrix product over a view, written straight into y. Copies are S times the image, not the R*S times
of im2col. Source: Cho and Brand 2017, arXiv:1706.06873.

The unrolled image is im2col: each window is copied, and one matrix product handles hundreds of rows at once. It is
for large filters, and for rows that are dilated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpunn._window import Window, is_plain_product
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d.tasks import (
    LANES,
    Output,
    Problem,
    Products,
    Task,
    padded_rows,
    sizes,
    sum_products,
    tasks,
    view,
)
from gpunn.cpu.elementwise import copy_pixels, rectify

_LARGE_FILTERS = 1 << 18  # bytes: with more, a product of few rows spends its time fetching filters
_HUGE_FILTERS = 1 << 20  # bytes: too large for partial sums
_LEAST_ROWS = 256  # of a product with large filters
_DENSE_CHANNELS = 16  # groups of fewer channels are multiplied several at a time


# -- which convolutions go which way --------------------------------------------------------------


def is_product(problem: Problem) -> bool:
    """Whether the image as stored is the matrix of windows: a 1 x 1 convolution with stride 1 and no padding."""
    return is_plain_product(problem.window, problem.groups // _merged(problem.groups, problem.shape[3]))


def has_lowered_rows(problem: Problem) -> bool:
    """Whether windows are runs of lowered rows: not if rows are dilated."""
    return problem.window.dilation[0] == 1


def has_large_filters(problem: Problem) -> bool:
    """Whether the filters of one (dense) group are too large to stay in a core's cache beside the rows."""
    nbytes, count = _filter_bytes(problem)
    return nbytes // count > _LARGE_FILTERS


def has_huge_filters(problem: Problem) -> bool:
    """Whether the filters are too large for several partial sums of their gradient."""
    return _filter_bytes(problem)[0] > _HUGE_FILTERS


def _filter_bytes(problem: Problem) -> tuple[int, int]:
    """Bytes of all dense filters, and the number of dense groups."""
    k, r, s, depth = problem.shape
    merged = _merged(problem.groups, depth)
    return k * r * s * merged * depth * problem.dtype.itemsize, problem.groups // merged


# -- groups of few channels -----------------------------------------------------------------------


def _merged(groups: int, channels: int) -> int:
    """How many groups are multiplied at a time: the smallest divisor that gives the product enough channels."""
    return next((m for m in range(1, groups) if groups % m == 0 and m * channels >= _DENSE_CHANNELS), groups)


def dense_groups(weight: np.ndarray, groups: int) -> tuple[np.ndarray, int]:
    """The same convolution with fewer groups: several are merged, with zeros between them.

    A matrix product of a few channels takes as long as one of 16.
    """
    k, r, s, depth = weight.shape
    m = _merged(groups, depth)
    if m == 1:
        return weight, groups
    dense = np.zeros((groups // m, m, k // groups, r, s, m, depth), weight.dtype)
    own = np.arange(m)
    dense[:, own, ..., own, :] = weight.reshape(groups // m, m, k // groups, r, s, depth).swapaxes(0, 1)
    return dense.reshape(k, r, s, m * depth), groups // m


def sparse_groups(dense: np.ndarray, dense_count: int, groups: int) -> np.ndarray:
    """The part of an array like the dense filters that belongs to the true groups."""
    k, r, s, depth = dense.shape
    m = groups // dense_count
    if m == 1:
        return dense
    own = np.arange(m)
    blocks = dense.reshape(dense_count, m, k // groups, r, s, m, depth // m)[:, own, ..., own, :]
    return np.ascontiguousarray(blocks.swapaxes(0, 1)).reshape(k, r, s, depth // m)


# -- forward --------------------------------------------------------------------------------------


def correlate(
    output: Output,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    bias: np.ndarray | None,
    relu: bool,
    way: str,
) -> None:
    """output = act(x correlated with weight + bias), as a "product", "unrolled" or "lowered"."""
    weight, groups = dense_groups(weight, groups)
    filters = np.ascontiguousarray(weight.reshape(groups, len(weight) // groups, -1).transpose(0, 2, 1))
    _, length, k = filters.shape
    c = x.shape[3] // groups
    large = way == "unrolled"

    def task(part: Task) -> None:
        images, rows = part
        out = output.block(images, rows)
        for g in range(groups):
            channels, target = slice(g * c, (g + 1) * c), out[..., g * k : (g + 1) * k]
            if way == "product":
                np.matmul(x[images, rows].reshape(-1, c), filters[0], out=target.reshape(-1, k))
            elif large:
                matrix = _unroll(x[images, ..., channels], window, rows).reshape(-1, length)
                if groups == 1 and out.flags.c_contiguous:
                    np.matmul(matrix, filters[0], out=out.reshape(-1, k))
                else:
                    target[...] = (matrix @ filters[g]).reshape(target.shape)
            else:
                np.matmul(lower(x[images, ..., channels], window, rows).by_image, filters[g], out=target)
        if bias_row is not None:
            lines = out.reshape(-1, len(bias_row))
            lines += bias_row
        if relu:
            rectify(out, 2)
        output.done(images, out)

    # Along a row of outputs, so that NumPy's inner loop is longer than a few channels.
    bias_row = None if bias is None else np.tile(bias, window.Q)
    pixel_bytes = groups * k * x.itemsize
    threads.run(task, _tasks(len(x), window, length * x.itemsize, pixel_bytes, large=large, whole=output.whole))


def _tasks(
    n: int, window: Window, window_bytes: int, output_bytes: int, *, large: bool, whole: bool = False
) -> list[Task]:
    # Unrolled, a row of outputs copies all of its windows; lowered, only what earlier rows have not copied.
    copies = window_bytes if large else window_bytes // window.R * min(window.R, window.stride[0])
    return tasks(
        n,
        window.P,
        window.Q * (copies + output_bytes),
        max(1, n * window.P * window.Q // _LEAST_ROWS) if large else None,
        whole=whole,
    )


def _strips(x: np.ndarray, window: Window, rows: slice) -> np.ndarray:
    """The padded images' rows that some output rows need."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    count = (rows.stop - rows.start - 1) * sh + (window.R - 1) * dh + 1
    width = (window.Q - 1) * sw + (window.S - 1) * dw + 1
    return padded_rows(x, rows.start * sh - window.padding[0], -window.padding[1], count, width)


class _Lowered(NamedTuple):
    """The lowered rows (n, Q, H', S * C) of some images, in scratch memory; no dilation of rows."""

    runs: np.ndarray  # S * C numbers each, or C where the columns are dilated: (n, Q, H', S, C)
    steps: tuple[int, ...]  # strides of the padded images viewed like that
    by_image: np.ndarray  # overlapping matrices (n, P', Q, R*S*C)
    by_row: np.ndarray  # the windows of all images for each output row: (P', n * Q, R*S*C)


def _lowered(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, window: Window) -> _Lowered:
    (n, count, _, c), (s0, s1, s2, s3), q = shape, strides, window.Q
    array = threads.scratch.array("copies", (n, q, count, window.S * c), dtype)
    runs = array
    steps: tuple[int, ...] = (s0, s2 * window.stride[1], s1, s3)
    if window.dilation[1] > 1 or s2 != c * s3:
        runs = array.reshape(n, q, count, window.S, c)
        steps = (s0, s2 * window.stride[1], s1, s2 * window.dilation[1], s3)
    p, length = (count - window.R) // window.stride[0] + 1, window.R * window.S * c
    t0, t1, t2, t3 = array.strides
    by_image = view(array, (n, p, q, length), (t0, t2 * window.stride[0], t1, t3))
    by_row = view(array, (p, n * q, length), (t2 * window.stride[0], t1, t3))
    return _Lowered(runs, steps, by_image, by_row)


def lower(x: np.ndarray, window: Window, rows: slice) -> _Lowered:
    """The lowered rows that some output rows need, copied into scratch memory."""
    padded = _strips(x, window, rows)
    plan = threads.scratch.plan(_lowered, padded.shape, padded.strides, x.dtype, window)
    copy_pixels(plan.runs, view(padded, plan.runs.shape, plan.steps))
    return plan


def _unroll(x: np.ndarray, window: Window, rows: slice, out: np.ndarray | None = None) -> np.ndarray:
    """The windows (n, P', Q, R, S, C) of some images, copied into ``out`` or scratch memory."""
    padded = _strips(x, window, rows)
    n, c = len(x), x.shape[3]
    if out is None:
        shape = (n, rows.stop - rows.start, window.Q, window.R, window.S, c)
        out = threads.scratch.array("copies", shape, x.dtype)
    s0, s1, s2, s3 = padded.strides
    (sh, sw), (dh, dw) = window.stride, window.dilation
    if dw == 1 and s2 == c * s3:
        runs = out.reshape(*out.shape[:4], window.S * c)
        copy_pixels(runs, view(padded, runs.shape, (s0, s1 * sh, s2 * sw, s1 * dh, s3)))
    else:
        copy_pixels(out, view(padded, out.shape, (s0, s1 * sh, s2 * sw, s1 * dh, s2 * dw, s3)))
    return out


# -- gradients ------------------------------------------------------------------------------------


def weight_gradient(
    dz: np.ndarray, x: np.ndarray, weight: np.ndarray, window: Window, groups: int, way: str
) -> np.ndarray:
    """dweight by partial sums, as a "product", "unrolled" or "lowered"; "unrolled_together": without partial sums."""
    dense, count = dense_groups(weight, groups)
    if way == "unrolled_together":
        dweight = _unrolled_together(dz, x, dense.shape, window, count)
    else:
        dweight = _partial_sums(dz, x, dense.shape, window, count, way)
    return sparse_groups(dweight, count, groups)


def _partial_sums(
    dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window, groups: int, way: str
) -> np.ndarray:
    """dweight of filters that fit into a core's cache."""
    k, c = shape[0] // groups, shape[3]
    length = window.R * window.S * c
    lowered = way == "lowered"

    def products_of(part: Task) -> Iterator[Products]:
        images, rows = part
        for g in range(groups):
            image, gradient = x[images, ..., g * c : (g + 1) * c], dz[images, rows, :, g * k : (g + 1) * k]
            if lowered:
                windows = lower(image, window, rows).by_row
                n, p, q, _ = gradient.shape
                turned = threads.scratch.array("turned", (p, n, q, k), x.dtype)
                copy_pixels(turned, gradient.transpose(1, 0, 2, 3))
                turned = turned.reshape(p, n * q, k)
            else:
                matrix = image[:, rows] if way == "product" else _unroll(image, window, rows)
                windows = matrix.reshape(1, -1, length)
                turned = np.ascontiguousarray(gradient).reshape(1, -1, k)
            yield slice(g, g + 1), turned.transpose(0, 2, 1)[None], windows[None]

    parts = _tasks(len(x), window, length * x.itemsize, k * x.itemsize, large=not lowered)
    (dweight,) = threads.run_all(sum_products(parts, products_of, (groups, k, length), x.dtype, sizes().sums))
    return dweight.reshape(shape)


def _unrolled_together(
    dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window, groups: int
) -> np.ndarray:
    """dweight of filters too large for partial sums: threads unroll a batch, then divide up the product."""
    k, c = shape[0] // groups, shape[3]
    length = window.R * window.S * c
    image_bytes = max(1, window.P * window.Q * length * x.itemsize)
    everything = slice(0, window.P)
    dweight = np.zeros((groups, k, length), x.dtype)
    columns = threads.spans(length, max(LANES, length // 512))
    for images in threads.spans(len(x), -(-len(x) * image_bytes // sizes().batch)):
        count = images.stop - images.start
        for g in range(groups):
            image = x[images, ..., g * c : (g + 1) * c]
            gradient = np.ascontiguousarray(dz[images, ..., g * k : (g + 1) * k]).reshape(-1, k)
            unrolled = threads.scratch.array(
                "unrolled batch", (count, window.P, window.Q, window.R, window.S, c), x.dtype
            )

            def unroll(i: int, image: np.ndarray = image, unrolled: np.ndarray = unrolled) -> None:
                _unroll(image[i : i + 1], window, everything, unrolled[i : i + 1])

            def multiply(
                part: slice, g: int = g, gradient: np.ndarray = gradient, unrolled: np.ndarray = unrolled
            ) -> None:
                product = threads.scratch.array("products", (k, part.stop - part.start), x.dtype)
                np.matmul(gradient.T, unrolled.reshape(-1, length)[:, part], out=product)
                dweight[g, :, part] += product

            threads.run(unroll, range(count))
            threads.run(multiply, columns)
    return dweight.reshape(shape)


def spread(dz: np.ndarray, shape: tuple[int, ...], weight: np.ndarray, groups: int, window: Window) -> np.ndarray:
    """dx for any stride: each output's gradient times the filters is added to the inputs under its window."""
    weight, groups = dense_groups(weight, groups)
    dx = memory.empty(shape, dz.dtype)
    h, w = shape[1:3]
    k, depth = weight.shape[0] // groups, weight.shape[3]
    (ph, pw), (eh, ew), (sh, sw), (dh, dw) = window.padding, window.after, window.stride, window.dilation
    window_bytes = window.R * window.S * depth * dz.itemsize

    def task(images: slice) -> None:
        for g in range(groups):
            rows = dz[images, ..., g * k : (g + 1) * k].reshape(-1, k)
            n = images.stop - images.start
            taps = threads.scratch.array("copies", (len(rows), window.R * window.S * depth), dz.dtype)
            np.matmul(rows, weight[g * k : (g + 1) * k].reshape(k, -1), out=taps)
            taps = taps.reshape(n, window.P, window.Q, window.R, window.S, depth)
            padded = threads.scratch.array("spread", (n, ph + h + eh, pw + w + ew, depth), dz.dtype)
            padded[...] = 0
            for r in range(window.R):
                down = slice(r * dh, r * dh + (window.P - 1) * sh + 1, sh)
                for s in range(window.S):
                    padded[:, down, s * dw : s * dw + (window.Q - 1) * sw + 1 : sw] += taps[:, :, :, r, s]
            dx[images, ..., g * depth : (g + 1) * depth] = padded[:, ph : ph + h, pw : pw + w]

    image_bytes = window.P * window.Q * window_bytes
    threads.run(task, threads.spans(len(dx), -(-len(dx) * image_bytes // sizes().block)))
    return dx
