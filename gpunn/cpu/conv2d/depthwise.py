"""Depthwise convolution on the CPU: every channel has one filter of its own, so there is no matrix to multiply.

NumPy's einsum multiplies and adds in one pass. It is given the windows of some images as a view, which lies in the
core's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gpunn._window import Window
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d.tasks import LANES, Output, Problem, Task, padded_rows, tasks, view
from gpunn.cpu.elementwise import rectify

_FEW = 64  # channels: a row of windows of fewer is summed as a whole


def fits(problem: Problem) -> bool:
    """Whether each channel has one filter of its own."""
    return problem.shape[3] == 1 and problem.shape[0] == problem.groups > 1


def forward(
    output: Output, x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool
) -> None:
    """output = act(x correlated with weight (C, R, S, 1) + bias)."""
    together = window.Q if window.stride[1] == 1 else 1
    taps = _spread_taps(weight, together)

    def task(part: Task) -> None:
        out = output.block(*part)
        seen = _windows(x, *part, window, together)
        np.einsum("npqrsc,rsc->npqc", seen, taps, out=out.reshape(*seen.shape[:3], -1))
        if bias is not None:
            out += bias
        if relu:
            rectify(out, 2)
        output.done(part[0], out)

    threads.run(task, _tasks(x, window, whole=output.whole))


def weight_gradient(dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """dweight (C, R, S, 1)."""
    parts, c = _tasks(x, window), x.shape[3]
    lanes = max(1, min(len(parts), LANES))
    together = window.Q if window.stride[1] == 1 and c < _FEW else 1
    # Each lane owns every lanes-th task and one partial gradient, to which it adds in order.
    partial = np.zeros((lanes, window.R, window.S, together * c), x.dtype)

    def task(lane: int) -> None:
        for images, rows in parts[lane::lanes]:
            seen = _windows(x, images, rows, window, together)
            gradient = dz[images, rows].reshape(*seen.shape[:3], -1)
            partial[lane] += np.einsum("npqrsc,npqc->rsc", seen, gradient)

    threads.run(task, range(lanes))
    total = partial.reshape(lanes, window.R, window.S, together, c).sum(axis=(0, 3))
    return np.ascontiguousarray(total.transpose(2, 0, 1)).reshape(shape)


def data_gradient(dz: np.ndarray, shape: tuple[int, ...], weight: np.ndarray, window: Window) -> np.ndarray:
    """dx (N, H, W, C) for any stride: each output's gradient is added to the inputs under its window."""
    dx = memory.empty(shape, dz.dtype)
    taps = _spread_taps(weight, window.Q).reshape(window.R, window.S, window.Q, -1)
    (ph, pw), (eh, ew), (h, w) = window.padding, window.after, shape[1:3]
    size, outputs = (ph + h + eh, pw + w + ew, shape[3]), dz.shape[1:]

    def task(part: Task) -> None:
        given = dz[part[0]]
        padded = threads.scratch.array("spread", (len(given), *size), dz.dtype)
        padded[...] = 0
        product = threads.scratch.array("products", given.shape, dz.dtype)
        for r, s, seen in _taps(padded, window):
            np.multiply(given, taps[r, s], out=product)
            seen += product
        dx[part[0]] = padded[:, ph : ph + h, pw : pw + w]

    threads.run(task, tasks(len(dx), 1, (math.prod(size) + math.prod(outputs)) * dz.itemsize, whole=True))
    return dx


def _tasks(x: np.ndarray, window: Window, *, whole: bool = False) -> list[Task]:
    # A task's padded image, sums and products fit into the cache together.
    return tasks(len(x), window.P, 4 * window.Q * x.shape[3] * x.itemsize * window.stride[0], whole=whole)


def _spread_taps(weight: np.ndarray, count: int) -> np.ndarray:
    """The filters as (R, S, count * C), repeated along a row: NumPy's inner loop is then longer than C."""
    c, r, s, _ = weight.shape
    taps = np.empty((r, s, count, c), weight.dtype)
    taps[...] = weight.reshape(c, r, s).transpose(1, 2, 0)[:, :, None]
    return taps.reshape(r, s, -1)


def _windows(x: np.ndarray, images: slice, rows: slice, window: Window, together: int) -> np.ndarray:
    """What some output rows see of some images, ``t`` columns ``together``: (n, P', Q / t, R, S, t * C)."""
    (sh, sw), (dh, dw), c = window.stride, window.dilation, x.shape[3]
    count = (rows.stop - rows.start - 1) * sh + (window.R - 1) * dh + 1
    top, width = rows.start * sh - window.padding[0], (window.Q - 1) * sw + (window.S - 1) * dw + 1
    padded = padded_rows(x[images], top, -window.padding[1], count, width)
    s0, s1, s2, s3 = padded.strides
    shape = (len(padded), rows.stop - rows.start, window.Q // together, window.R, window.S, together * c)
    return view(padded, shape, (s0, s1 * sh, s2 * sw * together, s1 * dh, s2 * dw, s3))


def _taps(padded: np.ndarray, window: Window) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each element (r, s) of the filters a view of what it touches, (n, P, Q, C)."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    height, width = (window.P - 1) * sh + 1, (window.Q - 1) * sw + 1
    for r in range(window.R):
        for s in range(window.S):
            yield r, s, padded[:, r * dh : r * dh + height : sh, s * dw : s * dw + width : sw]
