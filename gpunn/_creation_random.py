"""Making tensors of random numbers, drawn on the host: a seed gives the same numbers on every device."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import goal_like
from gpunn._creation_arguments import INT64, Goal, count_of, goal_of, shape_of
from gpunn._device import Device
from gpunn._half import FLOATING, limits
from gpunn._keywords import takes_keywords
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, here
from gpunn.random import generator_of

_FEW = 2**32  # numbers among which a float64 of 53 random bits chooses evenly enough


def _drawn(kind: str, goal: Goal, shape: Any, generator: Any) -> Tensor:
    if goal.dtype.kind not in FLOATING:
        raise DTypeError(
            f"{here(goal.op)}: expected a floating dtype; got {goal.dtype}. For integers use gpunn.randint."
        )
    source, lengths = generator_of(goal.op, generator), shape_of(goal.op, shape)
    draw = source.normal if kind == "normal" else source.uniform
    return goal.drawn(lengths, lambda: draw(0.0, 1.0, lengths, goal.dtype))


@takes_keywords
def randn(
    *shape: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    generator: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Standard Gaussian numbers, drawn on the host: a seed gives the same ones on every device.

    Parameters
    ----------
    generator : Generator, optional
        The default one if None.
    shape, dtype, device, requires_grad, out
        As for :func:`gpunn.zeros`; a floating dtype.
    """
    return _drawn("normal", goal_of("randn", dtype, device, requires_grad, out), shape, generator)


@takes_keywords
def rand(
    *shape: Any,
    dtype: Any = None,
    device: Device | str | None = None,
    requires_grad: bool = False,
    generator: Any = None,
    out: Tensor | None = None,
) -> Tensor:
    """Numbers uniform on [0, 1), drawn on the host: a seed gives the same ones on every device.

    Parameters
    ----------
    generator : Generator, optional
        The default one if None.
    shape, dtype, device, requires_grad, out
        As for :func:`gpunn.zeros`; a floating dtype.
    """
    return _drawn("uniform", goal_of("rand", dtype, device, requires_grad, out), shape, generator)


@takes_keywords
def rand_like(
    x: Any, dtype: Any = None, device: Device | str | None = None, generator: Any = None, requires_grad: bool = False
) -> Tensor:
    """Numbers uniform on [0, 1) in the shape of x.

    Parameters
    ----------
    x : Tensor
        Supplies ``dtype`` and ``device`` where they are None.
    dtype : dtype, optional
        A floating one.
    device : Device or str, optional
    generator : Generator, optional
        The default one if None.
    requires_grad : bool
        Whether ``backward`` should collect a gradient here.
    """
    return _drawn("uniform", goal_like("rand_like", x, dtype, device, requires_grad), (x.shape,), generator)


@takes_keywords
def randn_like(
    x: Any, dtype: Any = None, device: Device | str | None = None, generator: Any = None, requires_grad: bool = False
) -> Tensor:
    """Standard Gaussian numbers in the shape of x.

    Parameters
    ----------
    x, dtype, device, generator, requires_grad
        As for :func:`rand_like`.
    """
    return _drawn("normal", goal_like("randn_like", x, dtype, device, requires_grad), (x.shape,), generator)


@takes_keywords
def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    dtype: Any = None,
    device: Device | str | None = None,
    generator: Any = None,
    requires_grad: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Integers from ``low`` up to but not including ``high``, all equally likely.

    Parameters
    ----------
    low, high : int
        ``randint(high, size)`` begins at 0.
    size : sequence of int
        The shape.
    dtype : dtype, optional
        int64 if None. It has to hold all the numbers.
    generator : Generator, optional
        The default one if None.
    device, requires_grad, out
        As for :func:`gpunn.zeros`.

    Raises
    ------
    UsageError
        If there is no number to choose from, or the arguments are no whole numbers.
    DTypeError
        If the dtype does not hold them.
    """
    if size is None:  # randint(high, size)
        low, high, size = None, low, high
    elif high is None:  # randint(high, size=...)
        low, high = None, low
    if size is None or high is None:
        raise UsageError(f"{here('randint')}: expected low, high and size, or high and size.")
    goal = goal_of("randint", dtype, device, requires_grad, out, default=INT64)
    return _integers(goal, low, high, (size,), generator)


@takes_keywords
def randint_like(
    x: Any,
    low: Any = None,
    high: Any = None,
    dtype: Any = None,
    device: Device | str | None = None,
    generator: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers from ``low`` up to but not including ``high`` in the shape of x.

    Parameters
    ----------
    low, high : int
        ``randint_like(x, high)`` begins at 0.
    x, dtype, device, generator, requires_grad
        As for :func:`rand_like`; the dtype may be any that holds the numbers.
    """
    low, high = (None, low) if high is None else (low, high)
    if high is None:
        raise UsageError(f"{here('randint_like')}: expected low and high, or high; got neither.")
    return _integers(goal_like("randint_like", x, dtype, device, requires_grad), low, high, (x.shape,), generator)


def _integers(goal: Goal, low: Any, high: Any, shape: Any, generator: Any) -> Tensor:
    op, dtype = goal.op, goal.dtype
    first = 0 if low is None else whole_number(op, "low", low)
    end = whole_number(op, "high", high)
    if not first < end:
        raise UsageError(f"{here(op)}: expected low < high; got {first} and {end}.")
    _check_held(op, first, dtype)
    _check_held(op, end - 1, dtype)
    lengths, source, span = shape_of(op, shape), generator_of(op, generator), end - first

    def draw() -> np.ndarray:
        if span <= _FEW:
            drawn = source.uniform(0.0, 1.0, lengths, np.float64)
            values = np.minimum(np.floor(drawn * span), span - 1).astype(np.uint64)
        else:
            values = source.integers(span, lengths)
        values = values + np.uint64(first % 2**64)  # modulo 2^64, as a negative low is
        return (values if dtype == np.uint64 else values.view(np.int64)).astype(dtype)

    return goal.drawn(lengths, draw)


def _check_held(op: str, value: int, dtype: np.dtype) -> None:
    """Raise unless ``dtype`` holds ``value`` and all whole numbers between it and 0."""
    if dtype.kind in FLOATING:
        most = 2 ** (limits(dtype).nmant + 1)
        least = -most
    elif dtype.kind == "b":
        least, most = 0, 1
    else:
        least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if not least <= value <= most:
        raise DTypeError(f"{here(op)}: {value} does not fit into {dtype}. Pass another dtype=.")


@takes_keywords
def randperm(
    n: int,
    dtype: Any = None,
    device: Device | str | None = None,
    generator: Any = None,
    requires_grad: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """The numbers 0 to n - 1 in random order.

    Parameters
    ----------
    n : int
        At least 0.
    dtype : dtype, optional
        int64 if None. It has to hold n - 1.
    generator : Generator, optional
        The default one if None.
    device, requires_grad, out
        As for :func:`gpunn.zeros`.

    Raises
    ------
    UsageError
        If n is no whole number of at least 0.
    DTypeError
        If the dtype does not hold the numbers.
    """
    count = count_of("randperm", "n", n)
    goal = goal_of("randperm", dtype, device, requires_grad, out, default=INT64)
    if goal.dtype.kind == "b":
        raise DTypeError(f"{here('randperm')}: expected a dtype of numbers; got {goal.dtype}.")
    _check_held("randperm", max(count - 1, 0), goal.dtype)
    source, lengths = generator_of("randperm", generator), shape_of("randperm", (count,))
    return goal.drawn(lengths, lambda: source.permutation(count).astype(goal.dtype))
