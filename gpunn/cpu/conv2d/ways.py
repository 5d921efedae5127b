"""Convolution on the CPU: which way computes which convolution, and the two general ways.

- Depthwise: taps added up without a matrix product (``_conv2d_depthwise_numpy.py``).
- 3 x 3 with many channels: Winograd's product of transformed tiles (``_conv2d_winograd.py``).
- 5 columns wide: the same along the rows only (``_conv2d_winograd_rows.py``).
- Everything whose filters fit into a core's cache: *lowered* rows, below.
- Large filters, and rows that are dilated: the *unrolled* image, one matrix product for hundreds of rows at once.

Work is cut up by shape only, and partial weight gradients are added in a fixed order: the same bits for any number
of threads. Each task works on a few images, or rows of one, whose copies stay in the core's own cache.

Lowered rows: for each column q of the output a copy of the strip of S columns that its windows cover, as
(n, Q, H, S*C). The window of output (p, q) is then one run of R*S*C numbers that starts at row p * stride of
strip q, so the strips of one output row *are* a matrix, of which rows overlap in memory: all of the convolution is one
stacked matrix product over a view, straight into its place in y. Copies are S times the image, not the R*S times
of im2col. Source: Cho and Brand 2017, arXiv:1706.06873.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpunn._window import Window, is_plain_product
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d import depthwise, winograd_rows
from gpunn.cpu.conv2d import winograd_tiles as winograd
from gpunn.cpu.conv2d.tasks import (
    BLOCK_BYTES,
    LANES,
    Images,
    Output,
    Products,
    Task,
    padded_rows,
    sum_products,
    tasks,
    view,
)
from gpunn.cpu.elementwise import copy_pixels, rectify

_LARGE_FILTERS = 1 << 18  # bytes: with more, a product of few rows spends its time fetching filters
_HUGE_FILTERS = 1 << 20  # bytes: too large to have partial sums of
_LEAST_ROWS = 256  # of a product with large filters
_WHOLE_BYTES = 1 << 24  # of an unrolled batch that all threads share
SUMS_BYTES = 3 << 17  # of products that are made together and then added up
_DENSE_CHANNELS = 16  # groups of fewer channels are multiplied several at a time


def forward(
    x: np.ndarray, weight: np.ndarray, window: Window, groups: int, bias: np.ndarray | None, relu: bool
) -> np.ndarray:
    """The fast body of ``conv2d_forward``."""
    y = memory.empty((len(x), window.P, window.Q, len(weight)), x.dtype)
    write(Output(y), x, weight, window, groups, bias, relu)
    return y


def write(
    output: Output,
    x: np.ndarray,
    weight: np.ndarray,
    window: Window,
    groups: int,
    bias: np.ndarray | None,
    relu: bool,
) -> None:
    """output = act(x correlated with weight + bias)."""
    if depthwise.takes(weight.shape, groups):
        depthwise.forward(output, x, weight, window, bias, relu)
    elif winograd.takes(len(x), window, weight.shape, groups, x.dtype):
        winograd.forward(output, x, weight, window, bias, relu)
    elif winograd_rows.takes(len(x), window, weight.shape, groups, x.dtype):
        threads.run_all(winograd_rows.forward(output, Images(x), weight, window, bias, relu))
    else:
        weight, groups = dense_groups(weight, groups)
        filters = np.ascontiguousarray(weight.reshape(groups, len(weight) // groups, -1).transpose(0, 2, 1))
        _correlate(output, x, filters, window, bias, relu)


def backward(
    dz: np.ndarray, x: np.ndarray, weight: np.ndarray, window: Window, groups: int, needs: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The fast body of ``conv2d_backward``: the gradients of x and weight."""
    dx = _data_gradient(dz, x, weight, window, groups) if needs[0] else None
    if not needs[1]:
        return dx, None
    way = gradient_way(len(x), window, weight.shape, groups, x.dtype)
    if way == "depthwise":
        return dx, depthwise.weight_gradient(dz, x, weight.shape, window)
    if way == "winograd":
        return dx, winograd.weight_gradient(dz, x, window)
    if way == "winograd_rows":
        work = winograd_rows.weight_gradient(winograd_rows.Gradient(dz), Images(x), weight.shape, window)
        return dx, threads.run_all(work)[0]
    dense, dense_count = dense_groups(weight, groups)
    if way == "huge":
        dweight = _large_weight_gradient(dz, x, dense.shape, window, dense_count)
    else:
        dweight = _weight_gradient(dz, x, dense.shape, window, dense_count, lowered=way == "lowered")
    return dx, sparse_groups(dweight, dense_count, groups)


def gradient_way(n: int, window: Window, shape: tuple[int, ...], groups: int, dtype: np.dtype) -> str:
    """How the gradient of filters (K, R, S, C / groups) of ``n`` images is computed.

    "depthwise", "winograd" or "winograd_rows" for these modules; else "lowered", "unrolled", or "huge": unrolled, and
    too large for partial sums.
    """
    if depthwise.takes(shape, groups):
        return "depthwise"
    if winograd.takes(n, window, shape, groups, dtype, gradient=True):
        return "winograd"
    if winograd_rows.takes(n, window, shape, groups, dtype, gradient=True):
        return "winograd_rows"
    k, r, s, depth = shape
    merged = _merged(groups, depth)
    nbytes, count = k * r * s * merged * depth * dtype.itemsize, groups // merged
    if nbytes > _HUGE_FILTERS:
        return "huge"
    unrolled = is_plain_product(window, count) or window.dilation[0] > 1 or nbytes // count > _LARGE_FILTERS
    return "unrolled" if unrolled else "lowered"


# -- groups of few channels -----------------------------------------------------------------------


def _merged(groups: int, channels: int) -> int:
    """How many groups are multiplied at a time: the smallest divisor that gives the product enough channels."""
    return next((m for m in range(1, groups) if groups % m == 0 and m * channels >= _DENSE_CHANNELS), groups)


def dense_groups(weight: np.ndarray, groups: int) -> tuple[np.ndarray, int]:
    """The same convolution with fewer groups: several at a time, with zeros where they do not see each other.

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
    """What of an array like the dense filters belongs to the true groups."""
    k, r, s, depth = dense.shape
    m = groups // dense_count
    if m == 1:
        return dense
    own = np.arange(m)
    blocks = dense.reshape(dense_count, m, k // groups, r, s, m, depth // m)[:, own, ..., own, :]
    return np.ascontiguousarray(blocks.swapaxes(0, 1)).reshape(k, r, s, depth // m)


# -- the two ways ---------------------------------------------------------------------------------


def _correlate(
    output: Output, x: np.ndarray, filters: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool
) -> None:
    """output = act(x correlated with filters + bias); filters (groups, R*S*C, K), both of one group."""
    groups, length, k = filters.shape
    c = x.shape[3] // groups
    as_rows = is_plain_product(window, groups)
    large = not as_rows and (filters[0].nbytes > _LARGE_FILTERS or window.dilation[0] > 1)

    def task(part: Task) -> None:
        images, rows = part
        out = output.block(images, rows)
        for g in range(groups):
            channels, target = slice(g * c, (g + 1) * c), out[..., g * k : (g + 1) * k]
            if as_rows:
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
    # Unrolled, a row of outputs has all of its windows; lowered, only what the rows before it do not have.
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
    steps: tuple[int, ...]  # strides of the padded images seen so
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
    """Copy the padded images that some output rows need into lowered rows."""
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


def _weight_gradient(
    dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window, groups: int, *, lowered: bool
) -> np.ndarray:
    """dweight of filters that fit into a core's cache, by lowered rows or unrolled images."""
    k, c = shape[0] // groups, shape[3]
    length = window.R * window.S * c
    as_rows = is_plain_product(window, groups)

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
                matrix = image[:, rows] if as_rows else _unroll(image, window, rows)
                windows = matrix.reshape(1, -1, length)
                turned = np.ascontiguousarray(gradient).reshape(1, -1, k)
            yield slice(g, g + 1), turned.transpose(0, 2, 1)[None], windows[None]

    parts = _tasks(len(x), window, length * x.itemsize, k * x.itemsize, large=not lowered)
    (dweight,) = threads.run_all(sum_products(parts, products_of, (groups, k, length), x.dtype, SUMS_BYTES))
    return dweight.reshape(shape)


def _large_weight_gradient(
    dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window, groups: int
) -> np.ndarray:
    """dweight of filters too large to have partial sums of: threads unroll a batch, then share out the product."""
    k, c = shape[0] // groups, shape[3]
    length = window.R * window.S * c
    image_bytes = max(1, window.P * window.Q * length * x.itemsize)
    everything = slice(0, window.P)
    dweight = np.zeros((groups, k, length), x.dtype)
    columns = threads.spans(length, max(LANES, length // 512))
    for images in threads.spans(len(x), -(-len(x) * image_bytes // _WHOLE_BYTES)):
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


def _data_gradient(dz: np.ndarray, x: np.ndarray, weight: np.ndarray, window: Window, groups: int) -> np.ndarray:
    """dx: for stride 1 a convolution of dz with the filters turned by 180 degrees, else each output's spread."""
    if window.stride != (1, 1):
        if depthwise.takes(weight.shape, groups):
            return depthwise.data_gradient(dz, x.shape, weight, window)
        return _spread(dz, x.shape, *dense_groups(weight, groups), window)
    (rows, columns), back = backwards(window)
    return forward(dz[:, rows, columns], turned(weight, groups), back, groups, None, False)


@functools.lru_cache(maxsize=1024)
def backwards(window: Window) -> tuple[tuple[slice, slice], Window]:
    """Of what rows and columns of dz, and with what window, dx is the convolution with turned filters; for stride 1."""
    reach = window.dilation[0] * (window.R - 1), window.dilation[1] * (window.S - 1)
    before, after = (tuple(e - p for e, p in zip(reach, pads, strict=True)) for pads in (window.padding, window.after))
    # Negative: padded beyond what the filter reaches; those outputs see only zeros.
    rows, columns = (
        slice(max(0, -b), length - max(0, -a)) for b, a, length in zip(before, after, (window.P, window.Q), strict=True)
    )
    pads, ends = ((max(0, both[0]), max(0, both[1])) for both in (before, after))
    size = rows.stop - rows.start, columns.stop - columns.start
    return (rows, columns), Window(*size, window.R, window.S, (1, 1), pads, window.dilation, False, ends)


def turned(weight: np.ndarray, groups: int) -> np.ndarray:
    """Filters (K, R, S, C / groups) turned by 180 degrees, as (C, R, S, K / groups)."""
    k, r, s, c = weight.shape
    swapped = weight.reshape(groups, k // groups, r, s, c)[:, :, ::-1, ::-1].transpose(0, 4, 2, 3, 1)
    return swapped[0] if groups == 1 else swapped.reshape(groups * c, r, s, k // groups)


def _spread(dz: np.ndarray, shape: tuple[int, ...], weight: np.ndarray, groups: int, window: Window) -> np.ndarray:
    """dx for any stride: the gradient of each output, times the filters, added to the inputs it was made of."""
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
    threads.run(task, threads.spans(len(dx), -(-len(dx) * image_bytes // BLOCK_BYTES)))
    return dx
