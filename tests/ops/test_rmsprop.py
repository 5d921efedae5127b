"""RMSprop's update: every form of the rule in every body, bad data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.ops.rmsprop import rmsprop_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw


def _arguments(
    sizes: list[int], dtype: Any, centered: bool, momentum: bool, rest: Any, seed: int, shift: int = 0
) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    none, squares = [None] * len(sizes), draw(rng, sizes, dtype, shift, positive=True)
    means = draw(rng, sizes, dtype, shift)
    for mean, square in zip(means, squares, strict=True):
        mean[...] = 0.5 * np.sqrt(square)  # an average's square is never above the squares' average
    decay, mu, sign = rest
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "squares": squares,
        "means": means if centered else none,
        "momenta": draw(rng, sizes, dtype, shift) if momentum else none,
        "scalars": np.array([0.05, 0.9, 0.1, 0.1, decay, mu, sign], dtype),
        "error": np.zeros(4, np.int32),
    }


@given(
    SIZES,
    DTYPES,
    st.booleans(),
    st.booleans(),
    st.tuples(st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.9]), st.sampled_from([1.0, -1.0])),
    st.integers(0, 2**16),
    st.integers(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_all_bodies_follow_the_formula(
    kernels: str, sizes: list[int], dtype: Any, centered: bool, momentum: bool, rest: Any, seed: int, shift: int
) -> None:
    # Some twenty roundings, and a quotient up to 10 times as large as what is divided.
    tolerance = {np.float32: 5e-6, np.float64: 1e-14}
    check_bodies(rmsprop_step, _arguments(sizes, dtype, centered, momentum, rest, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_worked_step(where: str) -> None:
    """d = 2, v = 0.75*4 + 0.25*4 = 4, mean = 0.25*2 = 0.5, variance 4 - 0.25 = 3.75."""
    p, v, mean, m = np.ones(1), np.full(1, 4.0), np.zeros(1), np.full(1, 0.5)
    scalars = np.array([0.5, 0.75, 0.25, 0.5, 0, 0.5, 1])
    call(rmsprop_step, where, [p], [np.full(1, 2.0)], [v], [mean], [m], scalars, np.zeros(4, np.int32))
    assert (v.item(), mean.item()) == (4, 0.5)
    assert m.item() == pytest.approx(0.25 + 2 / (3.75**0.5 + 0.5), abs=1e-15)
    assert p.item() == pytest.approx(1 - 0.5 * m.item(), abs=1e-15)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    arguments = _arguments([7, 5000], np.float32, True, True, (0.1, 0.9, 1), 1)
    check_nothing_is_written_after_bad_data(rmsprop_step, arguments, where)
