"""lstm_gates against its formula in other ops, whose gradients PyTorch has confirmed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, GraphError, ShapeError
from gpunn.ops.lstm_gates import lstm_gates
from tests.devices import EVERYWHERE

# Two dozen roundings of numbers of order one.
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


def by_formula(given: Any, hidden: Any, c: Any) -> tuple[Any, Any]:
    i, f, g, o = (given + hidden).chunk(4, 1)
    c_next = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c_next.tanh(), c_next


@pytest.mark.parametrize("where", EVERYWHERE)
@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 9), width=st.integers(1, 9), dtype=st.sampled_from(list(TOLERANCE)), used=st.integers(1, 3))
def test_is_its_formula(where: str, n: int, width: int, dtype: str, used: int) -> None:
    rng = np.random.Generator(np.random.Philox([n, width]))
    arrays = [3 * rng.standard_normal((n, k * width)) for k in (4, 4, 1, 1, 1)]
    found = []
    for function in (lstm_gates, by_formula):
        *leaves, wh, wc = (gpunn.tensor(a.astype(dtype), device=where) for a in arrays)
        for leaf in leaves:
            leaf.requires_grad_()
        h, c = function(*leaves)
        loss = [(h * wh).sum(), (c * wc).sum()]  # either output may be left unused
        sum(term for bit, term in enumerate(loss) if used >> bit & 1).backward()
        found.append([h.detach(), c.detach(), *(leaf.grad for leaf in leaves)])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=0, atol=8 * TOLERANCE[dtype])  # of up to 8


def test_outputs_used_again_and_changed_inputs() -> None:
    leaves = [gpunn.rand(2, n, dtype="float64", requires_grad=True) for n in (12, 12, 3)]
    assert gpunn.gradcheck(lambda *x: lstm_gates(*x)[0] * lstm_gates(x[0], x[1], lstm_gates(*x)[1])[1], leaves)
    h, c = lstm_gates(*leaves)
    c.detach().add_(1)  # which backward reads
    with pytest.raises(GraphError, match=r"lstm_gates: a tensor of shape \(2, 3\) that backward needs was changed"):
        h.sum().backward()


def test_threads_do_not_change_bits() -> None:
    x = [gpunn.randn(5000, n) for n in (256, 256, 64)]
    before = gpunn.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            gpunn.set_num_threads(count)
            results.append([y.numpy().tobytes() for y in lstm_gates(*x)])
        assert results[0] == results[1]
    finally:
        gpunn.set_num_threads(before)


@pytest.mark.parametrize(
    ("shapes", "dtype", "error", "message"),
    [
        (
            [(2, 12), (2, 11), (2, 3)],
            "float32",
            ShapeError,
            r"^lstm_gates: expected two of shape \(N, 4 H\) and a state",
        ),
        ([(2, 12), (2, 12), (3,)], "float32", ShapeError, r"got \(2, 12\), \(2, 12\) and \(3,\)"),
        (
            [(2, 12), (2, 12), (2, 3)],
            "int64",
            DTypeError,
            "^lstm_gates: expected one floating dtype; got int64, int64 an",
        ),
    ],
)
def test_refuses(shapes: Any, dtype: str, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        lstm_gates(*(gpunn.zeros(*shape, dtype=dtype) for shape in shapes))
