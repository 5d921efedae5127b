"""gru_gates against its formula in other ops, whose gradients PyTorch has confirmed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, ShapeError
from gpunn.ops.gru_gates import gru_gates
from tests.devices import EVERYWHERE

# Two dozen roundings of numbers of order one.
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


def by_formula(given: Any, hidden: Any, h: Any) -> Any:
    (r, z, n), (r_, z_, n_) = given.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (r + r_).sigmoid(), (z + z_).sigmoid()
    n = (n + r * n_).tanh()
    return (1 - z) * n + z * h


@pytest.mark.parametrize("where", EVERYWHERE)
@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 9), width=st.integers(1, 9), dtype=st.sampled_from(list(TOLERANCE)))
def test_is_its_formula(where: str, n: int, width: int, dtype: str) -> None:
    rng = np.random.Generator(np.random.Philox([n, width]))
    arrays = [3 * rng.standard_normal((n, k * width)) for k in (3, 3, 1, 1)]
    found = []
    for function in (gru_gates, by_formula):
        *leaves, w = (gpunn.tensor(a.astype(dtype), device=where) for a in arrays)
        for leaf in leaves:
            leaf.requires_grad_()
        y = function(*leaves)
        y.backward(w)
        found.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=0, atol=8 * TOLERANCE[dtype])  # of up to 8


def test_gradcheck() -> None:
    leaves = [gpunn.randn(2, n, dtype="float64", requires_grad=True) for n in (9, 9, 3)]
    assert gpunn.gradcheck(gru_gates, leaves)


def test_threads_do_not_change_bits() -> None:
    x = [gpunn.randn(5000, n) for n in (192, 192, 64)]
    before = gpunn.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            gpunn.set_num_threads(count)
            results.append(gru_gates(*x).numpy().tobytes())
        assert results[0] == results[1]
    finally:
        gpunn.set_num_threads(before)


@pytest.mark.parametrize(
    ("shapes", "dtype", "error", "message"),
    [
        ([(2, 9), (2, 8), (2, 3)], "float32", ShapeError, r"^gru_gates: expected two of shape \(N, 3 H\) and a state"),
        ([(2, 9), (2, 9), (3,)], "float32", ShapeError, r"got \(2, 9\), \(2, 9\) and \(3,\)"),
        (
            [(2, 9), (2, 9), (2, 3)],
            "int64",
            DTypeError,
            "^gru_gates: expected one floating dtype; got int64, int64 and",
        ),
    ],
)
def test_refuses(shapes: Any, dtype: str, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gru_gates(*(gpunn.zeros(*shape, dtype=dtype) for shape in shapes))
