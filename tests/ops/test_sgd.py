"""The update kernel: every form of the rule, many tensors, sizes around a chunk, alignment, bad data, infinities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.gpu.launcher import trace_launches
from gpunn.ops.sgd import sgd_step
from tests.devices import EVERYWHERE, call


def _arguments(sizes: list[int], dtype: Any, seed: int, shift: int = 0) -> dict[str, Any]:
    """Arrays that begin ``shift`` elements after an aligned address."""
    rng = np.random.Generator(np.random.Philox(seed))

    def draw() -> list[np.ndarray]:
        return [rng.standard_normal(n + shift).astype(dtype)[shift:] for n in sizes]

    return {
        "params": draw(),
        "grads": draw(),
        "momenta": draw(),
        "first": [bool(rng.integers(2)) for _ in sizes],
        "error": np.zeros(4, np.int32),
    }


def _copy(arguments: dict[str, Any]) -> dict[str, Any]:
    """As it is, with fresh copies of the same alignment."""

    def twin(a: Any) -> Any:
        if not isinstance(a, np.ndarray):
            return a
        offset = a.ctypes.data % 16 // a.itemsize
        fresh = np.empty(a.size + offset, a.dtype)[offset:]
        fresh[...] = a
        return fresh

    return {k: [twin(a) for a in v] if isinstance(v, list) else v for k, v in arguments.items()}


@given(
    st.lists(st.sampled_from([0, 1, 3, 4, 63, 4095, 4096, 4097, 9000]), min_size=1, max_size=5),
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.sampled_from([0.0, 0.9]), st.sampled_from([1.0, 0.6]), st.sampled_from([0.0, 0.01])),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.integers(0, 1),
    st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_all_bodies_follow_the_formula(
    kernels: str,
    sizes: list[int],
    dtype: Any,
    numbers: tuple[float, float, float],
    flags: tuple[bool, bool, bool],
    shift: int,
    seed: int,
) -> None:
    (mu, undamped, decay), (nesterov, maximize, with_momentum) = numbers, flags
    arguments = _arguments(sizes, dtype, seed, shift)
    if not with_momentum:
        arguments["momenta"] = [None] * len(sizes)
    rest: dict[str, Any] = {
        "scalars": np.array([0.1, mu, undamped, decay, -1 if maximize else 1], dtype),
        "nesterov": nesterov,
    }
    expected = _copy(arguments)
    sgd_step.plain(np, **expected, **rest)
    # The same operations on the same numbers; a compiler may round a product and a sum once instead of twice.
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    for where in ("cpu", kernels):
        got = _copy(arguments)
        call(sgd_step, where, **got, **rest)
        for name in ("params", "momenta"):
            for a, b in zip(got[name], expected[name], strict=True):
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max(initial=0)))


@pytest.mark.parametrize(("tensors", "launches"), [(1, 1), (96, 1), (97, 2), (200, 3)])
def test_one_launch_for_up_to_96_tensors(kernels: str, tensors: int, launches: int) -> None:
    arguments = _arguments([5] * tensors, np.float32, 0)
    with trace_launches() as made:
        call(sgd_step, kernels, **arguments, scalars=np.array([0.1, 0.9, 1, 0, 1], np.float32), nesterov=False)
    assert len(made) == launches


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nothing_is_written_once_bad_data_was_reported(where: str) -> None:
    arguments = _arguments([7, 5000], np.float32, 1)
    before = _copy(arguments)
    arguments["error"][0] = 1
    call(sgd_step, where, **arguments, scalars=np.array([0.1, 0.9, 1, 0, 1], np.float32), nesterov=False)
    for name in ("params", "momenta"):
        for a, b in zip(arguments[name], before[name], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_without_decay_an_infinite_parameter_stays_infinite(where: str) -> None:
    """As in PyTorch: 0 times infinity is not added to the gradient."""
    p, m = np.array([np.inf, 1], np.float32), np.zeros(2, np.float32)
    scalars = np.array([0.5, 0.9, 1, 0, 1], np.float32)
    error = np.zeros(4, np.int32)
    call(sgd_step, where, [p], [np.ones(2, np.float32)], [m], [False], scalars, error, False)
    assert p.tolist() == [np.inf, 0.5]
    assert m.tolist() == [1, 1]
