"""adaptive_avg_pool1d against PyTorch, known answers, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.adaptive_avg_pool1d import adaptive_avg_pool1d

# Sums of up to 13 numbers of order one, whose order differs: some roundings of 6e-8 and 1e-16.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


@given(
    st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 13)),
    st.integers(1, 15),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=80, deadline=None)
def test_matches_torch(shape: tuple[int, ...], size: int, dtype: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(size)).standard_normal(shape).astype(dtype)
    parity.compare(
        lambda x: adaptive_avg_pool1d(x, size),
        lambda x: parity.torch.nn.functional.adaptive_avg_pool1d(x, size),
        {"x": x},
        "cpu",
        TOLERANCE[dtype],
        least_scale=1,
    )


def test_known_answers_and_strided_input() -> None:
    x = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    assert adaptive_avg_pool1d(gpunn.from_numpy(x[:, :, ::2]), (2,)).tolist() == [[[1.0, 3.0], [7.0, 9.0]]]
    assert adaptive_avg_pool1d(gpunn.from_numpy(x), None).tolist() == x.tolist()


def test_gradcheck() -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((2, 2, 7))
    assert gradcheck(lambda t: adaptive_avg_pool1d(t, 3), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "size", "error", "message"),
    [
        (gpunn.zeros(4), 1, ShapeError, r"expected x of shape \(N, C, L\)"),
        (gpunn.zeros(1, 1, 4), (1, 2), UsageError, "output_size: expected a positive integer or None; got"),
        (gpunn.zeros(1, 1, 4, dtype=np.int64), 1, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        adaptive_avg_pool1d(x, size)
