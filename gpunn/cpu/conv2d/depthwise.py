"""Depthwise convolution on the CPU: every channel has one filter of its own, so there is no matrix to multiply.

For each filter element a shifted image is multiplied by a row of numbers and added, all in the core's cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunn._window import Window
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d.tasks import LANES, Output, Problem, Task, padded_rows, tasks
from gpunn.cpu.elementwise import rectify


def fits(problem: Problem) -> bool:
    """Whether each channel has one filter of its own."""
    return problem.shape[3] == 1 and problem.shape[0] == problem.groups > 1


def forward(
    output: Output, x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool
) -> None:
    """output = act(x correlated with weight (C, R, S, 1) + bias)."""
    taps = _spread_taps(weight, window)

    def task(part: Task) -> None:
        block = output.block(*part)
        for image, out in enumerate(block, part[0].start):
            out[...] = 0 if bias is None else bias
            product = threads.scratch.array("products", out.shape, x.dtype)
            padded = _padded(x[image : image + 1], window, part[1])
            for r, s, seen in _taps(padded, window, part[1]):
                np.multiply(seen, taps[r, s], out=product)
                out += product
            if relu:
                rectify(out, 2)
        output.done(part[0], block)

    threads.run(task, _tasks(x, window, whole=output.whole))


def weight_gradient(dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """dweight (C, R, S, 1)."""
    parts, c = _tasks(x, window), x.shape[3]
    lanes = max(1, min(len(parts), LANES))
    # Each lane owns every lanes-th task and one partial gradient, to which it adds in order.
    partial = np.zeros((lanes, window.R, window.S, c), x.dtype)

    def task(lane: int) -> None:
        for images, rows in parts[lane::lanes]:
            for image in range(images.start, images.stop):
                gradient = dz[image, rows]
                padded = _padded(x[image : image + 1], window, rows)
                for r, s, seen in _taps(padded, window, rows):
                    partial[lane, r, s] += np.einsum("pqc,pqc->c", seen, gradient)

    threads.run(task, range(lanes))
    return np.ascontiguousarray(partial.sum(axis=0).transpose(2, 0, 1)).reshape(shape)


def data_gradient(dz: np.ndarray, shape: tuple[int, ...], weight: np.ndarray, window: Window) -> np.ndarray:
    """dx (N, H, W, C) for any stride: each output's gradient is added to the inputs under its window."""
    dx = memory.empty(shape, dz.dtype)
    taps = _spread_taps(weight, window)
    (ph, pw), (eh, ew), (h, w) = window.padding, window.after, shape[1:3]
    everything = slice(0, window.P)

    def task(image: int) -> None:
        padded = threads.scratch.array("spread", (1, ph + h + eh, pw + w + ew, shape[3]), dz.dtype)
        padded[...] = 0
        product = threads.scratch.array("products", dz.shape[1:], dz.dtype)
        for r, s, seen in _taps(padded, window, everything):
            np.multiply(dz[image], taps[r, s], out=product)
            seen += product
        dx[image] = padded[0, ph : ph + h, pw : pw + w]

    threads.run(task, range(len(dx)))
    return dx


def _tasks(x: np.ndarray, window: Window, *, whole: bool = False) -> list[Task]:
    # A task's padded image, sums and products fit into the cache together.
    return tasks(len(x), window.P, 4 * window.Q * x.shape[3] * x.itemsize * window.stride[0], whole=whole)


def _spread_taps(weight: np.ndarray, window: Window) -> np.ndarray:
    """The filters as (R, S, Q, C), repeated along a row: NumPy's inner loop is then as long as a row, not just C."""
    c, r, s, _ = weight.shape
    rows = weight.reshape(c, r, s).transpose(1, 2, 0)[:, :, None]
    return np.ascontiguousarray(np.broadcast_to(rows, (r, s, window.Q, c)))


def _padded(image: np.ndarray, window: Window, rows: slice) -> np.ndarray:
    (sh, sw), (dh, dw) = window.stride, window.dilation
    count = (rows.stop - rows.start - 1) * sh + (window.R - 1) * dh + 1
    top, width = rows.start * sh - window.padding[0], (window.Q - 1) * sw + (window.S - 1) * dw + 1
    return padded_rows(image, top, -window.padding[1], count, width)


def _taps(padded: np.ndarray, window: Window, rows: slice) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each element (r, s) of the filters a view of what it reads, (P', Q, C)."""
    (sh, sw), (dh, dw) = window.stride, window.dilation
    height, width = (rows.stop - rows.start - 1) * sh + 1, (window.Q - 1) * sw + 1
    for r in range(window.R):
        for s in range(window.S):
            yield r, s, padded[0, r * dh : r * dh + height : sh, s * dw : s * dw + width : sw]
