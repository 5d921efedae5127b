"""maxout against PyTorch's maximum over a reshaped axis, ties, NaN, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.cpu.elementwise import PART
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.ops.maxout import maxout
from tests.devices import EVERYWHERE
from tests.ops import activations


@st.composite
def configurations(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """An array of one to four axes, k, and the axis whose length k divides."""
    k = draw(st.integers(1, 5))
    shape = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    shape[dim] = k * draw(st.integers(0, 4))
    x = draw(activations.arrays(shape=tuple(shape)))
    return np.round(x) if draw(st.booleans()) else x, k, dim  # rounded: ties are common


def _compare(configuration: tuple[np.ndarray, int, int], where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    x, k, dim = configuration

    def theirs(x: Any) -> Any:
        axis = dim % x.ndim
        units = x.reshape(*x.shape[:axis], x.shape[axis] // k, k, *x.shape[axis + 1 :])
        if units.numel() == 0:
            return units.sum(axis + 1)
        return units.max(axis + 1).values

    parity.compare(lambda x: maxout(x, k, dim), theirs, {"x": x}, where, 0)


@given(configurations())
@settings(max_examples=150, deadline=None)
def test_matches_torch_on_cpu(configuration: tuple) -> None:
    _compare(configuration, "cpu")


@given(configurations())
@settings(max_examples=40, deadline=None)
def test_matches_torch_with_kernels(kernels: str, configuration: tuple) -> None:
    _compare(configuration, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_neighbours_belong_together(where: str) -> None:
    x = gpunn.arange(12, dtype=np.float32).to(where)
    assert maxout(x, 3).tolist() == [2, 5, 8, 11]
    images = gpunn.arange(8, dtype=np.float32).to(where).reshape(1, 4, 1, 2)
    assert maxout(images, 2, 1).tolist() == [[[[2, 3]], [[6, 7]]]]
    assert maxout(images, 2).tolist() == [[[[1]], [[3]], [[5]], [[7]]]]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_first_of_equal_pieces_gets_the_gradient(where: str) -> None:
    x = gpunn.tensor(np.array([[1, 1, 1, 0, 2, 2]], np.float32), device=where, requires_grad=True)
    maxout(x, 3).sum().backward()
    assert x.grad.tolist() == [[1, 0, 0, 0, 1, 0]]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_nan_wins_and_minus_infinities_have_a_first(where: str) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[1, nan, 5, nan], [-inf, -inf, -inf, -inf], [nan, 1, 2, 3], [0, 1, 3, 2]], np.float32)
    t = gpunn.tensor(x, device=where, requires_grad=True)
    y = maxout(t, 4)
    np.testing.assert_array_equal(y.detach().numpy(), [[nan], [-inf], [nan], [3]])
    y.sum().backward()
    np.testing.assert_array_equal(t.grad.numpy().argmax(axis=1), [1, 0, 0, 2])
    assert t.grad.numpy().sum() == 4


def test_threads_do_not_change_bits_and_large_arrays_are_cut() -> None:
    x = np.random.Generator(np.random.Philox(5)).standard_normal((PART, 7)).astype(np.float32)
    before = threads.get_num_threads()
    try:
        for count in (1, 2):
            threads.set_num_threads(count)
            t = gpunn.tensor(x, requires_grad=True)
            y = maxout(t, 7)
            np.testing.assert_array_equal(y.detach().numpy()[:, 0], x.max(axis=1))
            y.sum().backward()
            np.testing.assert_array_equal(t.grad.numpy(), x == x.max(axis=1, keepdims=True))
    finally:
        threads.set_num_threads(before)


def test_gradcheck() -> None:
    x = np.random.Generator(np.random.Philox(1)).permutation(2 * 6 * 3 * 4).reshape(2, 6, 3, 4).astype(np.float64)
    for dim in (1, -1):
        assert gradcheck(lambda t, dim=dim: maxout(t, 2, dim), gpunn.tensor(x, requires_grad=True))


@pytest.mark.parametrize(
    ("x", "how", "error", "message"),
    [
        (gpunn.zeros(2, 5), {"k": 2}, ShapeError, r"expected a length that 2 divides along axis 1; got shape \(2, 5\)"),
        (gpunn.zeros(2, 4), {"k": 0}, UsageError, "k: expected a whole number from 1 to 256; got 0"),
        (gpunn.zeros(2, 257), {"k": 257}, UsageError, "k: expected a whole number from 1 to 256; got 257"),
        (gpunn.zeros(2, 4), {"k": 2.0}, UsageError, "k: expected a whole number"),
        (gpunn.zeros(2, 4), {"k": 2, "dim": 2}, UsageError, r"dim: shape \(2, 4\) has no axis 2"),
        (gpunn.zeros(()), {"k": 1}, UsageError, r"dim: shape \(\) has no axis -1"),
        (gpunn.arange(4), {"k": 2}, DTypeError, "got int64"),
    ],
)
def test_refuses(x: gpunn.Tensor, how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=f"maxout: {message}" if error is not DTypeError else message):
        maxout(x, **how)
