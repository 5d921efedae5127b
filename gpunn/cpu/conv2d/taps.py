"""Convolution on the CPU with large filters on small images, one filter element at a time.

Element (r, s) of all filters is a matrix (K, C), and what it sees of the images, a matrix too. So the output and both
gradients are one product for each element. Filters stay where they are: unrolling, turning or padding them would take
longer than the products do where there are few pixels. Outputs whose element (r, s) is outside the image are left out:
on 2 x 2 images that is more than half of a 3 x 3 convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from gpunn._window import Window, taps
from gpunn.cpu import memory, threads
from gpunn.cpu.conv2d.tasks import LANES, Output, Problem
from gpunn.cpu.elementwise import rectify

Place = tuple[slice, slice]  # rows and columns

_DEPTH = 128  # channels: adding up shallower products would take too long
_LARGE_FILTERS = 1 << 18  # bytes: smaller ones stay in a core's cache with whatever they are multiplied by
_ROWS = 2048  # pixels of output at a time: products of more leave the cache before they are added up
_WIDTH = 512  # channels of a task: each reads all pixels


def fits(problem: Problem) -> bool:
    """Whether there is one group."""
    return problem.groups == 1


def pays(problem: Problem) -> bool:
    """Whether filters are large, and deep."""
    k, r, s, c = problem.shape
    return min(k, c) >= _DEPTH and k * r * s * c * problem.dtype.itemsize > _LARGE_FILTERS


def forward(
    output: Output, x: np.ndarray, weight: np.ndarray, window: Window, bias: np.ndarray | None, relu: bool
) -> None:
    """output = act(x correlated with weight + bias)."""
    for images in _shares(len(x), window):
        out = output.block(images, slice(0, window.P))

        def task(part: slice, images: slice = images, out: np.ndarray = out) -> None:
            target = out[..., part]
            target[...] = 0 if bias is None else bias[part]
            for r, s, (p, q), (h, w) in _elements(window):
                _add(target[:, p, q], _rows(x[images, h, w]), weight[part, r, s].T)
            if relu:
                rectify(target, 2)

        threads.run(task, _parts(len(weight)))
        output.done(images, out)


def data_gradient(dz: np.ndarray, shape: tuple[int, ...], weight: np.ndarray, window: Window) -> np.ndarray:
    """dx (N, H, W, C)."""
    dx = memory.empty(shape, dz.dtype)

    def task(part: slice) -> None:
        for images in _shares(len(dz), window):
            target = dx[images, ..., part]
            target[...] = 0
            for r, s, (p, q), (h, w) in _elements(window):
                _add(target[:, h, w], _rows(dz[images, p, q]), weight[:, r, s, part])

    threads.run(task, _parts(shape[3]))
    return dx


def weight_gradient(dz: np.ndarray, x: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """dweight (K, R, S, C)."""
    dweight = memory.empty(shape, dz.dtype)
    shares = _shares(len(x), window)

    def task(item: tuple[tuple[int, int, Place, Place], slice]) -> None:
        (r, s, (p, q), (h, w)), part = item
        target = dweight[part, r, s]
        for images in shares:
            left, right = _rows(dz[images, p, q])[:, part].T, _rows(x[images, h, w])
            if images.start:
                _add(target, left, right)
            else:
                np.matmul(left, right, out=target)

    elements = list(_elements(window))
    if len(elements) < window.R * window.S or not shares:
        dweight.fill(0)  # those that see no pixel
    parts = _parts(shape[0]) if len(elements) < LANES else [slice(0, shape[0])]
    threads.run(task, itertools.product(elements, parts))
    return dweight


def _elements(window: Window) -> Iterator[tuple[int, int, Place, Place]]:
    """Those of the filters that see any pixel: the outputs where they do, and these pixels."""
    for (r, (p, h)), (s, (q, w)) in itertools.product(enumerate(taps(window, 0)), enumerate(taps(window, 1))):
        if p.stop > p.start and q.stop > q.start:
            yield r, s, (p, q), (h, w)


def _add(target: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """target += left times right, whose rows are all but the last axis of target."""
    product = threads.scratch.array("products", (len(left), right.shape[1]), target.dtype)
    np.matmul(left, right, out=product)
    target += product.reshape(target.shape)


def _rows(images: np.ndarray) -> np.ndarray:
    """Pixels as the rows of a matrix; a copy where they are not adjacent."""
    return images.reshape(-1, images.shape[3])


def _shares(n: int, window: Window) -> list[slice]:
    return threads.spans(n, -(-n * window.P * window.Q // _ROWS))


def _parts(channels: int) -> list[slice]:
    """Channels for each task: an even number of parts is fair to two threads."""
    return threads.spans(channels, min(LANES, 2 * max(1, channels // (2 * _WIDTH))))
