"""What the activations share: checks, example inputs, and in-place work on the CPU in parts that stay in cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn import _host_memory as memory
from gpunn import threads
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, where
from gpunn.ops._blocks import over, quiet, row_of
from gpunn.ops._masking import keep_where


def check_floating(op: str, x: Tensor) -> None:
    """Raise DTypeError naming ``op`` unless x is floating."""
    if x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


def number(op: str, name: str, value: Any) -> float:
    """``value`` as a finite float, or UsageError naming the op and the argument."""
    if not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise UsageError(f"{where(op)}: {name}: expected a finite number; got {value!r}.")
    return float(value)


def inputs(rng: np.random.Generator) -> list[np.ndarray]:
    """Example inputs: special values, values far out, an empty batch, a scalar, odd sizes, float64."""
    # 1e-37 is the smallest kind of number that a GPU tells from 0: NVRTC is always given -ftz=true.
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-37, -1e-37, -1.0, 1.0, 6.0], np.float32)
    far = np.array([1e4, -1e4, 100, -100, 89, -89, 20.5, 19.5, -30], np.float32)
    drawn = [np.asarray(2 * rng.standard_normal(s), np.float32) for s in ((3, 5), (2, 4, 4, 8), (0, 3), (), (1027,))]
    return [special, far, far.astype(np.float64), *drawn, 2 * rng.standard_normal(17)]


def gradients(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """An example gradient for an output of x's shape and dtype."""
    return np.asarray(rng.standard_normal(x.shape), x.dtype)


def part_by_part(work: Callable[..., None], *arrays: np.ndarray) -> np.ndarray:
    """An array like the first of ``arrays``, filled by ``work(out, *parts)`` one part at a time, over the threads.

    Parameters
    ----------
    work : callable
        Writes every element of its first argument; all its arguments are flat and of one length.
    arrays : numpy.ndarray
        C-contiguous, all of one shape.
    """
    y = memory.empty_like(arrays[0])
    target, flat = y.reshape(-1), [a.reshape(-1) for a in arrays]

    def task(part: slice) -> None:
        with quiet():
            work(target[part], *(a[part] for a in flat))

    over(task, y.size)
    return y


def scratch(like: np.ndarray, name: str = "activation") -> np.ndarray:
    """Working memory of this thread with ``like``'s shape and dtype; the next call with this name overwrites it."""
    found: np.ndarray = threads.scratch.array(name, like.shape, like.dtype)
    return found


def open_or_slope(is_open: np.ndarray, slope: float, factor: np.ndarray) -> None:
    """factor = 1 where ``is_open``, else ``slope``; all flat parts."""
    if 0 <= slope <= 1:
        factor[...] = is_open
        np.maximum(factor, row_of(slope, factor), out=factor)
    else:
        factor.fill(slope)
        one_where_open(is_open, factor)


def one_where_open(is_open: np.ndarray, factor: np.ndarray) -> None:
    """factor = 1 where ``is_open``, in place, by its bits: NumPy's ``where`` goes element by element.

    A unit whose input is NaN is not open: it keeps its factor.
    """
    bits = factor.view(np.int32 if factor.itemsize == 4 else np.int64)
    one = np.ones(1, factor.dtype).view(bits.dtype)
    bits ^= one  # now 1 is what has no bits set
    keep_where(np.logical_not(is_open), factor, factor)
    bits ^= one


def logistic(out: np.ndarray, x: np.ndarray) -> None:
    """out = 1 / (1 + exp(-x)); exp overflows to infinity far below 0, which gives 0."""
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    np.divide(row_of(1, out), out, out=out)  # half of the time that ``reciprocal`` takes
