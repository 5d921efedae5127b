"""Random numbers whose distribution a tensor gives: bernoulli, multinomial, normal.

Uniform numbers are drawn on the host, in a captured step before each replay, so a seed gives the same on every device;
what they choose is found where the tensor lies. Probabilities are checked on the host, but for those of a captured
step, which nobody can read in time: its first run, which is not captured, checks its own. Where all elements have one
probability the mask is dropout's, which is drawn on the device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._capture_state import capturing
from gpunn._creation import full_like
from gpunn._creation_arguments import goal_of
from gpunn._creation_random import randn
from gpunn._half import FLOATING
from gpunn._in_place import rewrite
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.cast import to_dtype
from gpunn.ops.clamp import clamp
from gpunn.ops.cumsum import cumsum
from gpunn.ops.dropout import dropout
from gpunn.ops.searchsorted import searchsorted
from gpunn.ops.sort import argsort
from gpunn.ops.where import where
from gpunn.random import Generator, generator_of


def bernoulli(x: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that x gives for each element, else 0; no gradient.

    Parameters
    ----------
    x : Tensor
        Probabilities, floating; only its shape and dtype count if ``p`` is given.
    p : float, optional
        One probability for all elements.
    generator : Generator, optional
        The default one if None.

    Raises
    ------
    UsageError
        If a probability is not from 0 to 1.
    DTypeError
        If x is not floating and ``p`` is not given.
    """
    if p is not None:
        return _chosen("bernoulli", x, p, generator)
    op, source = "bernoulli", generator_of("bernoulli", generator)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected floating probabilities; got {x.dtype}.")
    x = x.detach()
    if capturing() is None:
        chances = x.numpy()
        if not ((chances >= 0) & (chances <= 1)).all():
            raise UsageError(f"{here(op)}: expected probabilities from 0 to 1; got others among them.")
    return to_dtype(_uniform(op, x.shape, x, source) < x.double(), x.dtype)


def _uniform(op: str, shape: tuple[int, ...], like: Tensor, source: Generator) -> Tensor:
    """float64 numbers from 0 up to 1, drawn on the host."""
    goal = goal_of(op, np.float64, like.device)
    return goal.drawn(shape, lambda: source.uniform(0.0, 1.0, shape, np.float64))


def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Give every element 1 with probability p, else 0; returns x. A number p is drawn on the device, captured too.

    Parameters
    ----------
    x : Tensor
    p : float or Tensor
        One probability, or one for each element, broadcast to x's shape.
    generator : Generator, optional
        The default one if None.

    Raises
    ------
    UsageError
        If a probability is not from 0 to 1.
    """
    if isinstance(p, Tensor):
        drawn = bernoulli(p.detach().expand(x.shape), generator=generator)
        return rewrite(x, "bernoulli_", lambda _: drawn.to(x.device).to(x.dtype))
    return rewrite(x, "bernoulli_", lambda old: _chosen("bernoulli_", old, p, generator))


def _chosen(op: str, x: Tensor, p: Any, generator: Any) -> Tensor:
    """Like x: 1 with probability p, else 0."""
    chance = real_number(op, "p", p, 0, 1)
    source = None if generator is None else generator_of(op, generator)
    ones = full_like(x, 1, dtype=x.dtype if x.dtype.kind in FLOATING else np.dtype("float32"))
    # What is kept was divided by its probability, which is at most 1.
    return to_dtype(clamp(dropout(ones, 1 - chance, generator=source), max=1), x.dtype)


def multinomial(x: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Indices drawn with probabilities in proportion to each row of x.

    Parameters
    ----------
    x : Tensor, (C,) or (N, C)
        Weights, floating, finite, none negative; each row's sum is more than 0.
    num_samples : int
        How many for each row.
    replacement : bool
        Whether one index may be drawn several times. If not, there have to be enough weights that are not 0.
    generator : Generator, optional
        The default one if None.

    Returns
    -------
    Tensor, (num_samples,) or (N, num_samples)
        int64.

    Raises
    ------
    UsageError
        If weights or numbers do not permit that.
    ShapeError, DTypeError
        If x is no row or rows of floating numbers.
    """
    op = "multinomial"
    source, count = generator_of(op, generator), whole_number(op, "num_samples", num_samples, 1)
    if x.ndim not in (1, 2) or not x.shape[-1]:
        raise ShapeError(f"{here(op)}: expected weights (C,) or (N, C), C at least 1; got shape {x.shape}.")
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected floating weights; got {x.dtype}. Convert with .float().")
    if not replacement and count > x.shape[-1]:
        raise UsageError(f"{here(op)}: num_samples: {count} of {x.shape[-1]} weights need replacement=True.")
    weights = x.detach().double().reshape(-1, x.shape[-1])
    if capturing() is None:
        _check_weights(op, weights.numpy(), count, replacement)
    if replacement:
        ends = cumsum(weights, 1)
        drawn = _uniform(op, (len(weights), count), x, source) * ends[:, -1:]
        found = searchsorted(ends, drawn, right=True)
    else:
        # The first arrivals of Poisson processes with these rates: Efraimidis and Spirakis, 2006.
        def waits() -> np.ndarray:
            return -np.log1p(-source.uniform(0.0, 1.0, weights.shape, np.float64))

        drawn = goal_of(op, np.float64, x.device).drawn(weights.shape, waits)
        found = argsort(where(weights > 0, drawn / weights, math.inf), 1)[:, :count]
    return found.reshape(*x.shape[:-1], count)


def _check_weights(op: str, weights: np.ndarray, count: int, replacement: bool) -> None:
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise UsageError(f"{here(op)}: expected finite weights of at least 0; got a negative one, infinity or NaN.")
    possible = int((weights > 0).sum(1).min(initial=weights.shape[1]))
    if not possible or (not replacement and count > possible):
        raise UsageError(
            f"{here(op)}: num_samples: {count} of a row with {possible} weights above 0 "
            f"{'cannot be drawn' if not possible else 'need replacement=True'}."
        )


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Gaussian numbers, each with a mean and standard deviation of its own; no gradient reaches these.

    Parameters
    ----------
    mean, std : Tensor or float
        Their shapes broadcast.
    size : sequence of int, optional
        The shape, where both are numbers.
    generator : Generator, optional
        The default one if None.
    dtype, device, requires_grad
        As of :func:`gpunn.randn`, where both are numbers; else a tensor's.

    Raises
    ------
    UsageError
        If ``std`` is negative, or ``size`` is missing or too much.
    ShapeError
        If the shapes do not broadcast.
    """
    op = "normal"
    tensors = [v for v in (mean, std) if isinstance(v, Tensor)]
    if bool(tensors) == (size is not None):
        raise UsageError(
            f"{here(op)}: size: expected it where mean and std are numbers, and not with a tensor; got {size!r}."
        )
    if isinstance(std, Tensor):
        low = 0.0 if capturing() is not None else float(std.detach().numpy().min(initial=0.0))
    else:
        low = std
    real_number(op, "std", low, 0)
    if tensors:
        try:
            size = np.broadcast_shapes(*(v.shape for v in tensors))
        except ValueError:
            shapes = " and ".join(str(v.shape) for v in tensors)
            raise ShapeError(f"{here(op)}: mean and std: shapes {shapes} do not broadcast together.") from None
        dtype, device = tensors[0].dtype, tensors[0].device
    mean, std = (v.detach() if isinstance(v, Tensor) else real_number(op, "mean", v) for v in (mean, std))
    drawn = randn(*size, dtype=dtype, device=device, generator=generator) * std + mean
    return drawn.requires_grad_() if requires_grad else drawn
