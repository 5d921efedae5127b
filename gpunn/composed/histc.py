"""How many numbers lie in each of equal intervals."""

from __future__ import annotations

import numpy as np

from gpunn._creation import tensor
from gpunn._half import FLOATING
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, here


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of equal intervals; NumPy counts on the host.

    Parameters
    ----------
    x : Tensor
        Floating.
    bins : int
        How many intervals.
    min, max : float
        The ends, which belong to them; elements outside do not count. If equal, those of the elements.

    Returns
    -------
    Tensor, (bins,)
        Of x's dtype.

    Raises
    ------
    UsageError
        If the ends are not finite, or in the wrong order.
    """
    op, count = "histc", whole_number("histc", "bins", bins, 1)
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    low, high = real_number(op, "min", min), real_number(op, "max", max)
    values = x._numpy_without_tape().reshape(-1)
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not low < high or not np.isfinite(high - low):
        raise UsageError(f"{here(op)}: expected finite ends with min below max; got {low:g} and {high:g}.")
    inside = values[(values >= low) & (values <= high)].astype(np.float64)
    places = ((inside - low) / (high - low) * count).astype(np.int64)
    counts = np.bincount(np.minimum(places, count - 1), minlength=count)
    return tensor(counts.astype(x.dtype), device=x.device)
