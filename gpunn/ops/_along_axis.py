"""Formulas along one axis on the CPU: cut across the other axes, over the threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn import threads
from gpunn.ops._blocks import PART, quiet


def sum_along(xp: Any, a: Any, axis: int) -> Any:
    """Sums along ``axis``, which stays with length 1, as exact as pairwise ones in the array's own dtype.

    Along the last axis the array libraries add pairwise; along others one after the other, hence float64.
    """
    kind = a.dtype if axis == a.ndim - 1 else np.float64
    return a.sum(axis=axis, keepdims=True, dtype=kind).astype(a.dtype, copy=False)


def in_blocks_along(formula: Callable[..., Any], axis: int, *arrays: np.ndarray) -> np.ndarray:
    """``formula(*arrays, axis)``, an array of their shape, computed in blocks that hold the whole axis.

    Parameters
    ----------
    formula : callable
        Works on each line along ``axis`` by itself.
    axis : int
        From 0.
    arrays : numpy.ndarray
        C-contiguous, all of one shape and dtype.
    """
    shape = arrays[0].shape
    outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    # The last axis of an array stays the last: sums along it are pairwise.
    folded = (outer, length) if inner == 1 else (outer, length, inner)
    y = np.empty(shape, arrays[0].dtype)
    target, given = y.reshape(folded), [a.reshape(folded) for a in arrays]

    def task(part: tuple[slice, ...]) -> None:
        with quiet():
            target[part] = formula(*(a[part] for a in given), 1)

    rows = threads.spans(outer, -(-y.size // PART))
    # Where one index of the outer axes is too much for a part, neighbouring lines are parted, whole cache lines each.
    lines = threads.spans(inner, min(-(-length * inner // PART), max(1, inner // 64))) if inner > 1 else [slice(None)]
    parts = [(r, slice(None), c)[: len(folded)] for r in rows for c in lines]
    if len(parts) == 1:
        task(parts[0])
    else:
        threads.run(task, parts)
    return y
