"""Convolution on the CPU: blocks of images that stay in cache, threads over blocks, BLAS inside.

The whole im2col matrix would be R*S times the input and go through memory twice. Instead each
task unrolls a few images at a time into a buffer of its own that fits the L2 cache, and multiplies it at
once. Work is cut by shape only, and partial weight gradients are added in a fixed order: the same
bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpunn import threads
from gpunn.ops.geometry import Window

# Bytes of one unrolled block. Larger blocks make better matrix products, until they leave the L2
# cache (512 KB to 2 MB a core on today's machines).
_BLOCK_BYTES = 1 << 20
_LEAST_RUN = 16  # floats: shorter channel runs are unrolled the other way round (see _unroll)


def forward(
    x: np.ndarray, weight: np.ndarray, window: Window, groups: int, bias: np.ndarray | None, relu: bool
) -> np.ndarray:
    """The fast body of ``conv2d_forward``."""
    n, _, _, c = x.shape
    k = weight.shape[0]
    y = np.empty((n, window.P, window.Q, k), x.dtype)
    filters = [_group(weight, groups, g).reshape(k // groups, -1) for g in range(groups)]

    def task(images: slice) -> None:
        out = y[images].reshape(-1, k)
        for g in range(groups):
            left = _unroll(x[images], window, groups, g)
            if groups == 1:
                np.matmul(left, filters[g].T, out=out)
            else:
                out[:, g * k // groups : (g + 1) * k // groups] = left @ filters[g].T
        if bias is not None:
            out += bias
        if relu:
            np.maximum(out, x.dtype.type(0), out=out)

    threads.run(task, _blocks(n, window, c // groups, x.dtype))
    return y


def backward(
    dz: np.ndarray, x: np.ndarray, weight: np.ndarray, window: Window, groups: int, needs: tuple[bool, bool]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The fast body of ``conv2d_backward``."""
    n, _, _, c = x.shape
    k = weight.shape[0]
    dx = np.empty_like(x) if needs[0] else None
    blocks = _blocks(n, window, c // groups, x.dtype)
    # Each lane owns every lanes-th block and one partial dweight, which they add to in order.
    lanes = max(1, min(len(blocks), 8, (1 << 24) // max(1, weight.nbytes)))
    partial = np.zeros((lanes, *weight.shape), x.dtype) if needs[1] else None

    def task(lane: int) -> None:
        for images in blocks[lane::lanes]:
            rows = dz[images].reshape(-1, k)
            for g in range(groups):
                kc = slice(g * k // groups, (g + 1) * k // groups)
                if partial is not None:
                    left = _unroll(x[images], window, groups, g)
                    product = threads.scratch.array("dweight", (k // groups, left.shape[1]), x.dtype)
                    np.matmul(rows[:, kc].T, left, out=product)
                    partial[lane, kc] += product.reshape(k // groups, *weight.shape[1:])
                if dx is not None:
                    _data_gradient(dx[images], rows[:, kc], _group(weight, groups, g), window, groups, g)

    threads.run(task, range(lanes))
    return dx, None if partial is None else partial.sum(axis=0)


def _blocks(n: int, window: Window, depth: int, dtype: Any) -> list[slice]:
    """Cut the batch into runs of images whose unrolled matrix is about _BLOCK_BYTES."""
    image = window.P * window.Q * window.R * window.S * depth * np.dtype(dtype).itemsize
    return threads.spans(n, -(-n * image // _BLOCK_BYTES) if n else 0)


def _group(weight: np.ndarray, groups: int, g: int) -> np.ndarray:
    k = weight.shape[0] // groups
    return weight[g * k : (g + 1) * k]


def _has_border(window: Window) -> bool:
    return any(window.padding) or any(window.after)


def _padded(x: np.ndarray, window: Window, name: str) -> np.ndarray:
    """x with its border of zeros, in this thread's scratch memory; x itself if there is none."""
    (ph, pw), (eh, ew), (n, h, w, c) = window.padding, window.after, x.shape
    if ph == pw == eh == ew == 0:
        return x
    padded = threads.scratch.array(name, (n, ph + h + eh, pw + w + ew, c), x.dtype)
    padded[:, :ph] = 0
    padded[:, ph + h :] = 0
    padded[:, ph : ph + h, :pw] = 0
    padded[:, ph : ph + h, pw + w :] = 0
    padded[:, ph : ph + h, pw : pw + w] = x
    return padded


def _windows(padded: np.ndarray, window: Window, channels: slice) -> np.ndarray:
    """View (n, P, Q, R, S, c) of a padded image: the element under each filter element."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    n0, h0, w0, c0 = padded.strides
    shape = (len(padded), window.P, window.Q, window.R, window.S, channels.stop - channels.start)
    return as_strided(padded[..., channels.start :], shape, (n0, h0 * sh, w0 * sw, h0 * dh, w0 * dw, c0))


def _unroll(x: np.ndarray, window: Window, groups: int, g: int) -> np.ndarray:
    """The im2col matrix (n*P*Q, R*S*c) of some images, in scratch memory (or a view where it is x itself)."""
    n, _, _, c = x.shape
    depth = c // groups
    channels = slice(g * depth, (g + 1) * depth)
    rows, columns = n * window.P * window.Q, window.R * window.S * depth
    if window.R == window.S == 1 and window.stride == (1, 1) and not _has_border(window) and groups == 1:
        return x.reshape(rows, columns)
    windows = _windows(_padded(x, window, "padded"), window, channels)
    if groups == 1 and window.dilation[1] == 1:
        run = window.S * depth  # neighbours in a filter row are neighbours in memory
    else:
        run = depth
    if run >= _LEAST_RUN:
        matrix = threads.scratch.array("unrolled", windows.shape, x.dtype)
        if run > depth:
            # One run of S*c instead of S runs of c: NumPy's inner loop gets its longest stretch.
            shape, strides = (*windows.shape[:4], run), (*windows.strides[:4], x.itemsize)
            np.copyto(matrix.reshape(shape), as_strided(windows, shape, strides))
        else:
            np.copyto(matrix, windows)
        return matrix.reshape(rows, columns)
    # Few channels: unroll filter elements first, so that the inner loop runs along image rows; the
    # product takes the transposed matrix as it is.
    matrix = threads.scratch.array("unrolled", (window.R, window.S, depth, n, window.P, window.Q), x.dtype)
    np.copyto(matrix, windows.transpose(3, 4, 5, 0, 1, 2))
    return matrix.reshape(columns, rows).T


def _data_gradient(dx: np.ndarray, dz: np.ndarray, weight: np.ndarray, window: Window, groups: int, g: int) -> None:
    """dx of some images for one group: spread each output's gradient over the inputs it was made of."""
    n, h, w, c = dx.shape
    k, r_count, s_count, depth = weight.shape
    channels = slice(g * depth, (g + 1) * depth)
    if window.stride == (1, 1) and groups == 1:
        if r_count == s_count == 1 and not _has_border(window):
            np.matmul(dz, weight.reshape(k, depth), out=dx.reshape(-1, c))
            return
        if k <= 4 * c:
            _data_gradient_as_forward(dx, dz, weight, window)
            return
    (ph, pw), (eh, ew), (sh, sw), (dh, dw) = window.padding, window.after, window.stride, window.dilation
    taps = threads.scratch.array("taps", (len(dz), r_count * s_count * depth), dx.dtype)
    np.matmul(dz, weight.reshape(k, -1), out=taps)
    taps = taps.reshape(n, window.P, window.Q, r_count, s_count, depth)
    padded = threads.scratch.array("dpadded", (n, ph + h + eh, pw + w + ew, depth), dx.dtype)
    padded[...] = 0
    for r in range(r_count):
        rows = slice(r * dh, r * dh + (window.P - 1) * sh + 1, sh)
        for s in range(s_count):
            padded[:, rows, s * dw : s * dw + (window.Q - 1) * sw + 1 : sw] += taps[:, :, :, r, s]
    dx[..., channels] = padded[:, ph : ph + h, pw : pw + w]


def _data_gradient_as_forward(dx: np.ndarray, dz: np.ndarray, weight: np.ndarray, window: Window) -> None:
    """Stride 1: dx is dz, padded, convolved with the filter turned by 180 degrees.

    Copies long runs of K channels instead of adding short ones of C; pays until K is a few times C.
    """
    n, c = dx.shape[0], dx.shape[3]
    k, r, s, _ = weight.shape
    reach = window.dilation[0] * (r - 1), window.dilation[1] * (s - 1)
    before, after = (tuple(e - p for e, p in zip(reach, pads, strict=True)) for pads in (window.padding, window.after))
    # Negative: padded beyond what the filter reaches; those outputs see only zeros.
    trim = [
        slice(max(0, -b), length - max(0, -a)) for b, a, length in zip(before, after, (window.P, window.Q), strict=True)
    ]
    image = dz.reshape(n, window.P, window.Q, k)[:, trim[0], trim[1]]
    pads, ends = ((max(0, both[0]), max(0, both[1])) for both in (before, after))
    back = Window(image.shape[1], image.shape[2], r, s, (1, 1), pads, window.dilation, False, ends)
    turned = weight[:, ::-1, ::-1].transpose(1, 2, 0, 3).reshape(-1, c)
    np.matmul(_unroll(np.ascontiguousarray(image), back, 1, 0), turned, out=dx.reshape(-1, c))
