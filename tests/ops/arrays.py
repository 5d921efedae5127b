"""Arrays of any rank for tests of ops that move elements about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

# Moved elements keep their bits; gradients of elements that are used several times are sums of a few terms of order
# one, whose order differs: a few roundings.
FEW_ROUNDINGS = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}


def shapes(least: int = 0, most: int = 5, lengths: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[tuple]:
    """Shapes with empty axes and axes of length 1 among them."""
    one = st.sampled_from([0, 1, 2, 3, 3, 4, 5]) if lengths is None else lengths
    return st.lists(one, min_size=least, max_size=most).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    """float32 or float64 numbers, in C order, transposed, or every other element of a larger array."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    how = draw(st.sampled_from(["plain", "transposed", "strided"]))
    if how == "transposed":
        return rng.standard_normal(shape[::-1]).astype(dtype).T
    if how == "strided" and shape:
        return rng.standard_normal((*shape[:-1], 2 * shape[-1])).astype(dtype)[..., ::2]
    return np.asarray(rng.standard_normal(shape), dtype)


def axis(draw: Callable[..., Any], ndim: int) -> int:
    """An axis of an array, from the front or from the end."""
    return draw(st.integers(-ndim, ndim - 1))


def ties(x: np.ndarray) -> np.ndarray:
    """Few different values, so that many are equal."""
    return np.round(x)
