"""Adagrad's update: every form of the rule in every body, bad data, infinities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.ops.adagrad import adagrad_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw


def _arguments(sizes: list[int], dtype: Any, decay: float, sign: float, seed: int, shift: int = 0) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "sums": draw(rng, sizes, dtype, shift, positive=True),
        "scalars": np.array([0.05, 1e-2, decay, sign], dtype),
        "error": np.zeros(4, np.int32),
    }


@given(
    SIZES,
    DTYPES,
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([1.0, -1.0]),
    st.integers(0, 2**16),
    st.integers(0, 1),
)
@settings(max_examples=25, deadline=None)
def test_all_bodies_follow_the_formula(
    kernels: str, sizes: list[int], dtype: Any, decay: float, sign: float, seed: int, shift: int
) -> None:
    # A dozen roundings of numbers of order one.
    tolerance = {np.float32: 1e-6, np.float64: 2e-15}
    check_bodies(adagrad_step, _arguments(sizes, dtype, decay, sign, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_worked_step(where: str) -> None:
    """s = 5 + 2*2 = 9, p = 1 - 0.5 * 2 / (3 + 1) = 0.75."""
    p, s = np.ones(1), np.full(1, 5.0)
    call(adagrad_step, where, [p], [np.full(1, 2.0)], [s], np.array([0.5, 1, 0, 1]), np.zeros(4, np.int32))
    assert (s.item(), p.item()) == (9, 0.75)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    check_nothing_is_written_after_bad_data(adagrad_step, _arguments([7, 5000], np.float32, 0.1, 1, 1), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_without_decay_an_infinite_parameter_stays_infinite(where: str) -> None:
    p, s = np.array([np.inf], np.float32), np.zeros(1, np.float32)
    scalars = np.array([0.5, 0.1, 0, 1], np.float32)
    call(adagrad_step, where, [p], [np.ones(1, np.float32)], [s], scalars, np.zeros(4, np.int32))
    assert p[0] == np.inf
    assert s[0] == 1
