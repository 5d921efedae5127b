"""max_pool1d against PyTorch, known answers, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.max_pool1d import max_pool1d
from tests.devices import EVERYWHERE


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Any max pooling of short sequences with many equal elements, every window touching the sequence."""
    kernel, length, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 12)), draw(st.integers(1, 2))
    span = dilation * (kernel - 1) + 1
    how = {
        "kernel_size": kernel,
        "stride": draw(st.one_of(st.none(), st.integers(1, 6))),
        "padding": draw(st.integers(0, kernel // 2)),
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }
    padding, step = how["padding"], how["stride"] or kernel
    assume(span <= length + 2 * padding)
    # PyTorch's backward writes to a wild address for a window that touches nothing.
    starts = [o * step - padding for o in range(length + 2 * padding) if o * step < length + padding]
    assume(all(any(0 <= start + i * dilation < length for i in range(kernel)) for start in starts))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 5)), length
    return {"x": rng.integers(-3, 4, shape).astype(draw(st.sampled_from([np.float32, np.float64]))), "how": how}


def _check_against_torch(where: str, configuration: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    x, how = configuration["x"], configuration["how"]
    parity.compare(
        lambda x: max_pool1d(x, **how),
        lambda x: parity.torch.nn.functional.max_pool1d(x, **how),
        {"x": x},
        where,
        1e-6,  # of the gradients: up to five of order one meet, in another order
        least_scale=1,
    )
    if len(x) and where == "cpu":
        y, index = max_pool1d(gpunn.tensor(x), **how, return_indices=True)
        expected = parity.torch.nn.functional.max_pool1d(parity.torch.tensor(x), **how, return_indices=True)[1]
        np.testing.assert_array_equal(index.numpy(), expected.numpy())
        assert index.dtype == np.int64
        assert not y.requires_grad


@given(configurations())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(configuration: dict[str, Any]) -> None:
    _check_against_torch("cpu", configuration)


@given(configurations())
@settings(max_examples=20, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: dict[str, Any]) -> None:
    _check_against_torch(kernels, configuration)


def test_known_answers_and_strided_input() -> None:
    x = np.array([[[1, 9, 5, 9, 2, 9, 4, 9]]], np.float32)
    assert max_pool1d(gpunn.from_numpy(x[:, :, ::2]), 2).tolist() == [[[5.0, 4.0]]]
    assert max_pool1d(gpunn.from_numpy(x), 3, 2, dilation=2).tolist() == [[[5.0, 5.0]]]


def test_gradcheck() -> None:
    x = np.random.Generator(np.random.Philox(1)).permutation(28).reshape(2, 2, 7).astype(np.float64)
    assert gradcheck(lambda t: max_pool1d(t, 3, 2, 1), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "how", "error", "message"),
    [
        (gpunn.zeros(1, 1, 4, 4), {"kernel_size": 2}, ShapeError, r"expected x of shape \(N, C, L\)"),
        (gpunn.zeros(1, 1, 2), {"kernel_size": 3}, ShapeError, "the window is 3 in length"),
        (gpunn.zeros(1, 1, 5), {"kernel_size": 2, "strict": True}, ShapeError, "strict"),
        (gpunn.zeros(1, 1, 4), {"kernel_size": 2, "padding": 2}, UsageError, "more than half the kernel"),
        (gpunn.zeros(1, 1, 4, dtype=np.int64), {"kernel_size": 2}, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, how: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        max_pool1d(x, **how)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("how", [{"kernel_size": 256}, {"kernel_size": 300, "stride": 7, "padding": 150}])
def test_large_windows_match_torch(where: str, how: dict[str, Any]) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(7)).standard_normal((2, 3, 700)).astype(np.float32)
    # 43 windows meet in one input.
    parity.compare(
        lambda x: max_pool1d(x, **how), lambda x: parity.torch.nn.functional.max_pool1d(x, **how), {"x": x}, where, 5e-6
    )
