"""Adamax's update: every form of the rule in every body, bad data, infinities, NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.ops.adamax import adamax_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw


def _arguments(sizes: list[int], dtype: Any, rest: Any, seed: int, shift: int = 0) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "means": draw(rng, sizes, dtype, shift),
        "largest": draw(rng, sizes, dtype, shift, positive=True),
        "scalars": np.array([0.05, 0.1, 0.99, 1e-2, *rest], dtype),
        "error": np.zeros(4, np.int32),
    }


@given(
    SIZES,
    DTYPES,
    st.tuples(st.sampled_from([0.0, 0.1]), st.sampled_from([1.0, -1.0])),
    st.integers(0, 2**16),
    st.integers(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_all_bodies_follow_the_formula(
    kernels: str, sizes: list[int], dtype: Any, rest: Any, seed: int, shift: int
) -> None:
    # A dozen roundings; the mean is at most 1 / 0.01 times as large as what it is divided by, times 0.05.
    tolerance = {np.float32: 3e-6, np.float64: 6e-15}
    check_bodies(adamax_step, _arguments(sizes, dtype, rest, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_worked_step(where: str) -> None:
    """m = 0.25*2 = 0.5; the largest stay 0.5*8 = 4 and become |2| + 0.5 = 2.5: p = 1 - 0.5 * 0.5 / 4 and / 2.5."""
    p, m, u = np.ones(2), np.zeros(2), np.array([8.0, 1.0])
    scalars = np.array([0.5, 0.25, 0.5, 0.5, 0, 1])
    call(adamax_step, where, [p], [np.full(2, 2.0)], [m], [u], scalars, np.zeros(4, np.int32))
    assert (m.tolist(), u.tolist()) == ([0.5, 0.5], [4, 2.5])
    assert p.tolist() == pytest.approx([1 - 0.25 / 4, 1 - 0.25 / 2.5], abs=1e-15)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    check_nothing_is_written_after_bad_data(adamax_step, _arguments([7, 5000], np.float32, (0.1, 1), 1), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinite_parameters_and_nan_gradients(where: str) -> None:
    """Without decay 0 times infinity is not added; what is no number stays none, as in PyTorch."""
    p, g = np.array([np.inf, 1, 1], np.float32), np.array([1, np.nan, 1], np.float32)
    first, second = np.zeros(3, np.float32), np.array([0, 0, np.nan], np.float32)
    scalars = np.array([0.5, 0.1, 0.9, 0.1, 0, 1], np.float32)
    call(adamax_step, where, [p], [g], [first], [second], scalars, np.zeros(4, np.int32))
    assert p[0] == np.inf
    assert np.isnan(p[1:]).all()
    assert np.isnan(second[1:]).all()
