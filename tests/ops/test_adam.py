"""Adam's update: every form of the rule in every body, many tensors, bad data, infinities, NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.gpu.launcher import trace_launches
from gpunn.ops.adam import adam_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw


def _arguments(sizes: list[int], dtype: Any, rest: Any, amsgrad: bool, seed: int, shift: int = 0) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "means": draw(rng, sizes, dtype, shift),
        "squares": draw(rng, sizes, dtype, shift, positive=True),
        "largest": draw(rng, sizes, dtype, shift, positive=True) if amsgrad else [None] * len(sizes),
        "scalars": np.array([0.05, 1e-2, 0.1, 0.99, 0.01, *rest], dtype),
        "error": np.zeros(4, np.int32),
    }


@given(
    SIZES,
    DTYPES,
    st.tuples(st.sampled_from([0.0, 0.1]), st.sampled_from([1.0, 0.9]), st.sampled_from([1.0, -1.0])),
    st.booleans(),
    st.integers(0, 2**16),
    st.integers(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_all_bodies_follow_the_formula(
    kernels: str, sizes: list[int], dtype: Any, rest: Any, amsgrad: bool, seed: int, shift: int
) -> None:
    # Some twenty roundings; the quotient is at most 1 / sqrt(0.01) times as large as what is divided.
    tolerance = {np.float32: 3e-6, np.float64: 6e-15}
    check_bodies(adam_step, _arguments(sizes, dtype, rest, amsgrad, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_worked_step(where: str) -> None:
    """m = 0 + 0.1*2 = 0.2, v = 0.01*4 = 0.04, p = 1 - 0.5 * 0.2 / (0.2 + 0.05) = 0.6."""
    p, m, v = np.ones(1), np.zeros(1), np.zeros(1)
    scalars = np.array([0.5, 0.05, 0.1, 0.99, 0.01, 0, 1, 1])
    call(adam_step, where, [p], [np.full(1, 2.0)], [m], [v], [None], scalars, np.zeros(4, np.int32))
    assert (m.item(), v.item(), p.item()) == pytest.approx((0.2, 0.04, 0.6), abs=1e-15)


@pytest.mark.parametrize(("tensors", "launches"), [(1, 1), (69, 1), (70, 2)])
def test_one_launch_for_up_to_69_tensors(kernels: str, tensors: int, launches: int) -> None:
    with trace_launches() as made:
        call(adam_step, kernels, **_arguments([5] * tensors, np.float32, (0, 1, 1), True, 0))
    assert len(made) == launches


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    check_nothing_is_written_after_bad_data(adam_step, _arguments([7, 5000], np.float32, (0.1, 0.9, 1), True, 1), where)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_infinite_parameters_and_nan_squares(where: str) -> None:
    """Without decay 0 times infinity is not added; NaN is the largest square, and stays it, as in PyTorch."""
    p, top = np.array([np.inf, 1, 1], np.float32), np.array([0, np.nan, 9], np.float32)
    g = np.array([1, 1, np.nan], np.float32)
    scalars, error = np.array([0.5, 0.1, 0.1, 0.9, 0.1, 0, 1, 1], np.float32), np.zeros(4, np.int32)
    zeros = [np.zeros(3, np.float32) for _ in range(2)]
    call(adam_step, where, [p], [g], [zeros[0]], [zeros[1]], [top], scalars, error)
    assert p[0] == np.inf
    assert np.isnan(p[1:]).all()
    assert np.isnan(top[1:]).all()
