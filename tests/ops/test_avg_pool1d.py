"""avg_pool1d against PyTorch, known answers, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.avg_pool1d import avg_pool1d

# Sums of up to 5 numbers of order one, whose order differs: some roundings of 6e-8 and 1e-16.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Any average pooling of short sequences, empty batches and single elements among them."""
    kernel, length = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    how: dict[str, Any] = {
        "kernel_size": draw(st.sampled_from([kernel, (kernel,)])),
        "stride": draw(st.one_of(st.none(), st.integers(1, 6))),
        "padding": draw(st.integers(0, kernel // 2)),
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
    }
    assume(kernel <= length + 2 * how["padding"])
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 5)), length
    return {"x": rng.standard_normal(shape).astype(draw(st.sampled_from([np.float32, np.float64]))), "how": how}


@given(configurations())
@settings(max_examples=100, deadline=None)
def test_matches_torch(configuration: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    x, how = configuration["x"], configuration["how"]
    parity.compare(
        lambda x: avg_pool1d(x, **how),
        lambda x: parity.torch.nn.functional.avg_pool1d(x, **how),
        {"x": x},
        "cpu",
        TOLERANCE[x.dtype.type],
        least_scale=1,
    )


def test_known_answers_and_strided_input() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 1, 12)
    assert avg_pool1d(gpunn.from_numpy(x[:, :, ::3]), 2).tolist() == [[[1.5, 7.5]], [[13.5, 19.5]]]
    assert avg_pool1d(gpunn.ones(1, 1, 3), 2, 2, 1).tolist() == [[[0.5, 1.0]]]


def test_gradcheck() -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((2, 2, 7))
    assert gradcheck(lambda t: avg_pool1d(t, 3, 2, 1, True), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "how", "error", "message"),
    [
        (gpunn.zeros(4), {"kernel_size": 2}, ShapeError, r"expected x of shape \(N, C, L\) or \(C, L\); got \(4,\)"),
        (gpunn.zeros(1, 1, 2), {"kernel_size": 3}, ShapeError, "the window is 3 in length"),
        (gpunn.zeros(1, 1, 5), {"kernel_size": 2, "strict": True}, ShapeError, "strict"),
        (gpunn.zeros(1, 1, 4), {"kernel_size": 2, "padding": 2}, UsageError, "more than half the kernel"),
        (gpunn.zeros(1, 1, 4), {"kernel_size": (2, 2)}, UsageError, "kernel_size"),
        (gpunn.zeros(1, 1, 4, dtype=np.int64), {"kernel_size": 2}, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, how: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        avg_pool1d(x, **how)
