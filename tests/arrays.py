"""Arrays that tests draw: odd lengths, axes of 1, no elements, memory in another order than the axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

DTYPES = st.sampled_from([np.float32, np.float64])


def tolerance(dtype: type | np.dtype, roundings: float = 40) -> float:
    """So many roundings of the largest magnitude: 5e-6 in float32, 9e-15 in float64."""
    return roundings * float(np.finfo(dtype).eps)


def shapes(least: int = 0, most: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """From ``least`` to ``most`` axes of 0 to 5; axes of 0 are rarer."""
    return st.lists(st.sampled_from([1, 1, 2, 3, 3, 4, 5, 0]), min_size=least, max_size=most).map(tuple)


@st.composite
def arrays(draw: st.DrawFn, shape: Any = None, low: float = -2.0, high: float = 2.0, dtype: Any = None) -> np.ndarray:
    """Uniform on [low, high); half of them strided or transposed views."""
    lengths = draw(shapes() if shape is None else shape)
    kind = draw(DTYPES) if dtype is None else dtype
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))

    def fill(size: tuple[int, ...]) -> np.ndarray:
        return np.asarray(low + (high - low) * rng.random(size)).astype(kind)

    layout = draw(st.sampled_from(["plain", "plain", "transposed", "strided"]))
    if layout == "transposed":
        return fill(lengths[::-1]).T
    if layout == "strided" and lengths:
        return fill((*lengths[:-1], 2 * lengths[-1]))[..., ::2]
    return fill(lengths)


def check(
    run: Callable[..., Any],
    arguments: dict[str, np.ndarray],
    accepted: float,
    least_scale: float = 1e-6,
    where: str = "cpu",
) -> None:
    """The same program on tensors of both libraries gives the same values and gradients; see ``parity.compare``."""
    parity = pytest.importorskip("tests.parity")
    parity.compare(run, run, arguments, where, accepted, least_scale=least_scale)
