"""LAMB's update: all bodies, norms over many chunks, zero norms, the same bits for any number of threads, bad data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn._device import device
from gpunn.cpu import threads
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.lamb import lamb_step
from tests.devices import EVERYWHERE, call
from tests.ops.multi_tensor import DTYPES, SIZES, check_bodies, check_nothing_is_written_after_bad_data, draw, twin


def _arguments(sizes: list[int], dtype: Any, decay: float, sign: float, seed: int, shift: int = 0) -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(seed))
    return {
        "params": draw(rng, sizes, dtype, shift),
        "grads": draw(rng, sizes, dtype, shift),
        "means": draw(rng, sizes, dtype, shift),
        "squares": draw(rng, sizes, dtype, shift, positive=True),
        "scalars": np.array([0.05, 0.8, 0.1, 0.1, 0.99, 0.01, decay, sign], dtype),
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
    # As Adam's, and the rounding of two sums of squares; a single element's own direction is all of its norm.
    tolerance = {np.float32: 5e-6, np.float64: 1e-14}
    check_bodies(lamb_step, _arguments(sizes, dtype, decay, sign, seed, shift), tolerance, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("p", "g"), [(0.0, 2.0), (3.0, 0.0)])
def test_the_ratio_is_one_where_a_norm_is_zero(where: str, p: float, g: float) -> None:
    """u = 0.8 * 0.2 / (0.2 + 0.1): with p = 0 the step is lr * u, with g = 0 there is none."""
    param, m, v = np.full(3, p), np.zeros(3), np.zeros(3)
    scalars = np.array([0.5, 0.8, 0.1, 0.1, 0.99, 0.01, 0, 1])
    call(lamb_step, where, [param], [np.full(3, g)], [m], [v], scalars, np.zeros(4, np.int32))
    expected = -0.5 * 0.8 * 0.2 / 0.3 if p == 0 else 3.0
    np.testing.assert_allclose(param, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("tensors", "launches"), [(1, 3), (80, 3), (81, 6)])
def test_three_launches_for_up_to_80_tensors(kernels: str, tensors: int, launches: int) -> None:
    with trace_launches() as made:
        call(lamb_step, kernels, **_arguments([5] * tensors, np.float32, 0.1, 1, 0))
    assert len(made) == launches


def test_the_same_bits_for_any_number_of_threads() -> None:
    arguments = _arguments([100_000, 70_000, 3], np.float32, 0.1, 1, 4)
    found, before = [], threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            copy = twin(arguments)
            lamb_step(device("cpu"), **copy)
            found.append(b"".join(p.tobytes() for p in copy["params"]))
    finally:
        threads.set_num_threads(before)
    assert len(set(found)) == 1


def test_a_merge_of_more_chunks_than_threads(kernels: str) -> None:
    """49 chunks by 32 threads; with all 256 it would take a million elements."""
    arguments = _arguments([200_000], np.float64, 0.1, 1, 6)
    expected = twin(arguments)
    lamb_step.plain(np, **expected)
    call(lamb_step, kernels, **arguments, kernel={"merge_threads": 32})
    # Sums of 200,000 squares in another order.
    np.testing.assert_allclose(arguments["params"][0], expected["params"][0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    check_nothing_is_written_after_bad_data(lamb_step, _arguments([7, 5000], np.float32, 0.1, 1, 1), where)
