"""Adadelta's update: every form of the rule in every body, bad data, infinities, NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.ops.adadelta import adadelta_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw


def _arguments(sizes: list[int], dtype: Any, rest: Any, seed: int, shift: int = 0) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "squares": draw(rng, sizes, dtype, shift, positive=True),
        "moved": draw(rng, sizes, dtype, shift, positive=True),
        "scalars": np.array([0.5, 0.9, 0.1, 1e-2, *rest], dtype),
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
    # Some twenty roundings; a step is at most sqrt(u / (v + eps)), some 10 times, as large as the gradient.
    tolerance = {np.float32: 1e-5, np.float64: 2e-14}
    check_bodies(adadelta_step, _arguments(sizes, dtype, rest, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_worked_step(where: str) -> None:
    """d = 2, v = 0.75*4 + 0.25*4 = 4, d² = 4 * (3 + 1) / (4 + 1) = 3.2, u = 0.75*3 + 0.8, p = 1 - 0.5 * sqrt(3.2)."""
    p, v, u = np.ones(1), np.full(1, 4.0), np.full(1, 3.0)
    scalars = np.array([0.5, 0.75, 0.25, 1.0, 0, 1])
    call(adadelta_step, where, [p], [np.full(1, 2.0)], [v], [u], scalars, np.zeros(4, np.int32))
    assert v.item() == 4
    assert u.item() == pytest.approx(0.75 * 3 + 0.25 * 3.2, abs=1e-15)
    assert p.item() == pytest.approx(1 - 0.5 * 3.2**0.5, abs=1e-15)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    check_nothing_is_written_after_bad_data(adadelta_step, _arguments([7, 5000], np.float32, (0.1, 1), 1), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinite_parameters_and_nan_gradients(where: str) -> None:
    """Without decay 0 times infinity is not added; what is no number stays none, as in PyTorch."""
    p, g = np.array([np.inf, 1, 1], np.float32), np.array([1, np.nan, 1], np.float32)
    first, second = np.zeros(3, np.float32), np.array([0, 0, np.nan], np.float32)
    scalars = np.array([0.5, 0.9, 0.1, 0.1, 0, 1], np.float32)
    call(adadelta_step, where, [p], [g], [first], [second], scalars, np.zeros(4, np.int32))
    assert p[0] == np.inf
    assert np.isnan(p[1:]).all()
    assert np.isnan(second[1:]).all()
