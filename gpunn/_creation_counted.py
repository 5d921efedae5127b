"""Making tensors of numbers in a row: ``arange``, ``linspace``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._creation_arguments import count_of, default_dtype, fitting, goal_of, number_of
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._keywords import takes_keywords
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, UsageError, here


@takes_keywords
def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Numbers from ``start`` up to but not including ``end``.

    Of floating dtypes number i is start + i * step, calculated in float64 and rounded once.

    Parameters
    ----------
    start, end : number
        ``arange(n)`` counts from 0 to n - 1.
    step : number
        Not 0, and in the direction from start to end.
    dtype : dtype, optional
        If None, int64 where all three are integers, else float32.
    device : Device or str, optional
        ``cpu`` if None.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.
    out : Tensor, optional
        Write the numbers here, converted to its dtype.

    Raises
    ------
    UsageError
        If there are no such numbers, or fractions for an integer dtype.
    DTypeError
        If one does not fit into the dtype.
    """
    if end is None:
        start, end = None, start
    given = {"start": 0 if start is None else start, "end": end, "step": step}
    first, last, by = (number_of("arange", name, value) for name, value in given.items())
    kind = default_dtype(int(first) if isinstance(first, bool) else first, last, by)
    goal = goal_of("arange", dtype, device, requires_grad, out, default=kind)
    if goal.dtype.kind == "b":
        raise DTypeError(f"{here('arange')}: expected a dtype of numbers; got {goal.dtype}.")
    if goal.dtype.kind in "iu":
        first, last, by = (
            _whole("arange", name, v, goal.dtype) for name, v in zip(given, (first, last, by), strict=True)
        )
    if goal.dtype.kind in FLOATING:
        first, last, by = float(first), float(last), float(by)
    count = _count(first, last, by)
    if goal.dtype.kind in FLOATING:
        with quiet():
            values = first + np.arange(count, dtype=np.float64) * by
            return goal.tensor(values.astype(goal.dtype))
    if count:
        fitting("arange", "start", first, goal.dtype)
        fitting("arange", "the last number", first + (count - 1) * by, goal.dtype)
    # Modulo 2^64: a step may be longer than the dtype's half.
    values = np.arange(count, dtype=np.uint64) * np.uint64(by % 2**64) + np.uint64(first % 2**64)
    return goal.tensor(values.astype(goal.dtype))


def _whole(op: str, name: str, value: Any, dtype: np.dtype) -> int:
    if not isinstance(value, int) and not value.is_integer():  # neither is NaN or infinity
        raise UsageError(f"{here(op)}: {name}: expected a whole number for dtype {dtype}; got {value}.")
    return int(value)


def _count(start: Any, end: Any, step: Any) -> int:
    """How many numbers there are."""
    if not all(isinstance(v, int) or math.isfinite(v) for v in (start, end, step)):
        raise UsageError(f"{here('arange')}: expected finite numbers; got start {start}, end {end}, step {step}.")
    if step == 0:
        raise UsageError(f"{here('arange')}: step: expected another number than 0; got {step}.")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise UsageError(
            f"{here('arange')}: a step of {step} does not lead from {start} to {end}. Exchange those, or its sign."
        )
    if all(isinstance(v, int) for v in (start, end, step)):
        count = -((start - end) // step)
    else:
        quotient = (end - start) / step
        count = math.ceil(quotient) if math.isfinite(quotient) else 2**63
    if count >= 2**59:
        raise UsageError(f"{here('arange')}: {count} numbers are more than any array holds.")
    return int(count)


@takes_keywords
def linspace(
    start: Any,
    end: Any,
    steps: int,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Evenly spaced numbers from ``start`` to ``end``, both included.

    Each half is counted from its own end, in float64 and rounded once; integers are cut off towards 0.

    Parameters
    ----------
    start, end : number
    steps : int
        How many numbers.
    dtype : dtype, optional
        float32 if None.
    device : Device or str, optional
        ``cpu`` if None.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.
    out : Tensor, optional
        Write the numbers here, converted to its dtype.

    Raises
    ------
    UsageError
        If ``steps`` is negative or no whole number, or start or end is a fraction and the dtype an integer one.
    DTypeError
        If start or end does not fit into the dtype.
    """
    count = count_of("linspace", "steps", steps)
    goal = goal_of("linspace", dtype, device, requires_grad, out)
    ends = [number_of("linspace", name, value) for name, value in (("start", start), ("end", end))]
    if goal.dtype.kind == "b":
        raise DTypeError(f"{here('linspace')}: expected a dtype of numbers; got {goal.dtype}.")
    if goal.dtype.kind in "iu":
        ends = [_whole("linspace", n, v, goal.dtype) for n, v in zip(("start", "end"), ends, strict=True)]
    for name, value in zip(("start", "end"), ends, strict=True):
        fitting("linspace", name, value, goal.dtype)
    first, last = map(float, ends)
    with quiet():
        step = (last - first) / (count - 1) if count > 1 else 0.0
        at = np.arange(count, dtype=np.float64)
        values = (
            np.where(at < count // 2, first + step * at, last - step * (count - 1 - at)) if count > 1 else first + at
        )
    if goal.dtype.kind in FLOATING:
        with quiet():
            return goal.tensor(values.astype(goal.dtype))
    made = np.clip(values, *_safe(goal.dtype)).astype(goal.dtype)
    if count:
        made[-1], made[0] = ends[1], ends[0]  # which float64 may not hold
    return goal.tensor(made)


def _safe(dtype: np.dtype) -> tuple[float, float]:
    """The ends of an integer dtype's range as floats within it."""
    limits = np.iinfo(dtype)
    largest = float(limits.max)
    return float(limits.min), largest if largest <= limits.max else math.nextafter(largest, 0)
