"""RAdam's update: every form of the rule, rectified or not in every body, bad data, infinities, NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.ops.radam import radam_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw


def _arguments(sizes: list[int], dtype: Any, rest: Any, seed: int, shift: int = 0) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "means": draw(rng, sizes, dtype, shift),
        "squares": draw(rng, sizes, dtype, shift, positive=True),
        "scalars": np.array([0.05, 1e-2, rest[0], 0.1, 0.99, 0.01, *rest[1:]], dtype),
        "error": np.zeros(4, np.int32),
    }


@given(
    SIZES,
    DTYPES,
    st.tuples(
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([0.0, 0.1]),
        st.sampled_from([1.0, 0.9]),
        st.sampled_from([1.0, -1.0]),
    ),
    st.integers(0, 2**16),
    st.integers(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_all_bodies_follow_the_formula(
    kernels: str, sizes: list[int], dtype: Any, rest: Any, seed: int, shift: int
) -> None:
    # Some twenty roundings; the quotient is at most 1 / sqrt(0.01) times as large as what is divided.
    tolerance = {np.float32: 3e-6, np.float64: 6e-15}
    check_bodies(radam_step, _arguments(sizes, dtype, rest, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("rectified", "expected"), [(1, 0.25), (0, 0.0)])
def test_a_worked_step(where: str, rectified: int, expected: float) -> None:
    """p = 0.5, m = 0.5*2 = 1, v = 0.25*4 = 1, p = 0.5 - 0.5 * 1 / (1 + 1), or 0.5 - 0.5 * 1 before it is rectified."""
    p, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    scalars = np.array([0.5, 1, rectified, 0.5, 0.75, 0.25, 0, 0.5, 1])
    call(radam_step, where, [p], [np.full(1, 2.0)], [m], [v], scalars, np.zeros(4, np.int32))
    assert (m.item(), v.item(), p.item()) == (1, 1, expected)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_infinite_square_does_not_matter_before_it_is_rectified(where: str) -> None:
    p, m, v = np.ones(1), np.zeros(1), np.full(1, np.inf)
    scalars = np.array([0.5, 1, 0, 0.5, 0.75, 0.25, 0, 1, 1])
    call(radam_step, where, [p], [np.full(1, 2.0)], [m], [v], scalars, np.zeros(4, np.int32))
    assert p.item() == 0.5


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    check_nothing_is_written_after_bad_data(radam_step, _arguments([7, 5000], np.float32, (1, 0.1, 0.9, 1), 1), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinite_parameters_and_nan_gradients(where: str) -> None:
    """Without decay 0 times infinity is not added; what is no number stays none, as in PyTorch."""
    p, g = np.array([np.inf, 1, 1], np.float32), np.array([1, np.nan, 1], np.float32)
    first, second = np.zeros(3, np.float32), np.array([0, 0, np.nan], np.float32)
    scalars = np.array([0.5, 0.1, 1, 0.1, 0.9, 0.1, 0, 1, 1], np.float32)
    call(radam_step, where, [p], [g], [first], [second], scalars, np.zeros(4, np.int32))
    assert p[0] == np.inf
    assert np.isnan(p[1:]).all()
    assert np.isnan(second[1:]).all()
