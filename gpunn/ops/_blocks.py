"""Element-by-element formulas on the CPU: cut into parts that stay in a core's cache, over the threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn import threads

PART = 1 << 16  # elements worked on at a time: a formula's intermediate arrays stay in the second-level cache


def quiet() -> np.errstate:
    """Logarithms of 0 and the like give infinities and NaN silently, as in PyTorch and on a GPU."""
    return np.errstate(all="ignore")


def in_blocks(formula: Callable[..., Any], dtype: Any, *arrays: np.ndarray) -> np.ndarray:
    """``formula(*arrays)`` with as many elements, computed part by part.

    Parameters
    ----------
    formula : callable
        Works element by element on the arrays' flat parts.
    dtype : numpy dtype
        Of the result.
    arrays : numpy.ndarray
        C-contiguous, all of one shape.
    """
    y = np.empty(arrays[0].shape, dtype)
    target, flat = y.reshape(-1), [a.reshape(-1) for a in arrays]

    def task(part: slice) -> None:
        with quiet():
            if isinstance(formula, np.ufunc):
                formula(*(a[part] for a in flat), out=target[part])
            else:
                target[part] = formula(*(a[part] for a in flat))

    if y.size <= 2 * PART:  # handing over to another thread costs more than it gains
        task(slice(0, y.size))
    else:
        threads.run(task, threads.spans(y.size, -(-y.size // PART)))
    return y
