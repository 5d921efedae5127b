"""What both of the CPU's Winograd convolutions share: the transforms, stacks of arrays.

A filter of r taps over m + r - 1 inputs yields m outputs with m + r - 1 multiplications instead of m r:
y = At [(G w) * (Bt x)]. The matrices come from evaluating polynomials at m + r - 2 points and infinity.

Source: Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308; on the choice of points Barabasz et al. 2018,
arXiv:1803.10986.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.cpu import threads
from gpunn.cpu.conv2d.tasks import view
from gpunn.cpu.elementwise import copy_pixels, rectify

_LINE = 16  # floats in a cache line


def transforms(points: tuple[float, ...], outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bt (t, t), G (t, r) and At (m, t) for t - 1 points and infinity, by Lagrange interpolation (Toom and Cook)."""
    finite = len(points)
    size, taps = finite + 1, finite + 2 - outputs
    bt, g, at = np.zeros((size, size)), np.zeros((size, taps)), np.zeros((outputs, size))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        bt[i, :finite] = np.poly(others)[::-1]
        g[i] = point ** np.arange(taps) / np.prod(point - others)
        at[:, i] = point ** np.arange(outputs)
    bt[finite] = np.poly(points)[::-1]
    g[finite, -1] = at[-1, finite] = 1
    return bt, g, at


def stack(name: str, count: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Scratch memory for ``count`` arrays of one shape.

    They are one cache line away from being adjacent: at power-of-two distances they would fall into few cache sets
    (a precaution; its gain was not measured by itself).
    """
    size = math.prod(shape)
    rows = threads.scratch.array(name, (count, size + _LINE), dtype)
    return rows[:, :size].reshape(count, *shape)


def flat(stacked: np.ndarray) -> np.ndarray:
    """Every array of a stack as one row, without copying: each may be a part of a longer row."""
    return view(stacked, (len(stacked), math.prod(stacked.shape[1:])), (stacked.strides[0], stacked.itemsize))


def finish(outputs: np.ndarray, relu: bool, *places: tuple[np.ndarray, np.ndarray]) -> None:
    """outputs = act(outputs), a stack in scratch memory; then copy parts of it: (a view of y, one of outputs) each."""
    if relu:
        rectify(flat(outputs), 1)
    for target, source in places:
        copy_pixels(target, source)
