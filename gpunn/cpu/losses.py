"""Losses between two arrays of one shape on the CPU, part by part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.cpu import threads
from gpunn.cpu.elementwise import in_blocks, parts, quiet


def share(dy: Any, divisor: float | None) -> Any:
    """The gradient of every term, given that of the loss."""
    if divisor is None:
        return dy
    with quiet():
        return dy / dy.dtype.type(divisor)


def total_in_blocks(formula: Callable[..., Any], divisor: float | None, *arrays: np.ndarray | None) -> np.ndarray:
    """``total(formula(*arrays), divisor)`` part by part on the CPU; arrays of one shape, or None."""
    packed, given = _without_none(formula, arrays)
    if divisor is None:
        return in_blocks(packed, given[0].dtype, *given)
    flat, size = [a.reshape(-1) for a in given], given[0].size
    cuts = parts(size)
    sums = np.zeros(len(cuts), np.float64)

    def task(numbered: tuple[int, slice]) -> None:
        number, part = numbered
        with quiet():
            sums[number] = packed(*(a[part] for a in flat)).sum(dtype=np.float64)

    if len(cuts) == 1:
        task((0, cuts[0]))
    else:
        threads.run(task, enumerate(cuts))
    with quiet():
        return np.asarray(sums.sum() / divisor, given[0].dtype)


def gradient_in_blocks(
    formula: Callable[..., Any], dy: np.ndarray, divisor: float | None, *arrays: np.ndarray | None
) -> np.ndarray:
    """``formula(share(dy, divisor), *arrays)`` part by part on the CPU; arrays of one shape, or None."""
    each = share(dy, divisor)
    if divisor is None:
        packed, given = _without_none(formula, (each, *arrays))
    else:
        packed, given = _without_none(lambda *parts: formula(each, *parts), arrays)
    return in_blocks(packed, dy.dtype, *given)


def _without_none(
    formula: Callable[..., Any], arrays: tuple[np.ndarray | None, ...]
) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """A formula of the arrays that are not None, and those arrays."""

    def packed(*parts: Any) -> Any:
        waiting = iter(parts)
        return formula(*(None if a is None else next(waiting) for a in arrays))

    return packed, [a for a in arrays if a is not None]
