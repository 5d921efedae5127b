"""Sums, means and products against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, UsageError
from tests.arrays import arrays, check, tolerance
from tests.devices import EVERYWHERE


@st.composite
def axes(draw: st.DrawFn, ndim: int) -> object:
    """None, one axis (also counted from the end), or several."""
    if not ndim or draw(st.integers(0, 3)) == 0:
        return None
    if draw(st.booleans()):
        return draw(st.integers(-ndim, ndim - 1))
    return tuple(draw(st.lists(st.integers(0, ndim - 1), min_size=1, unique=True)))


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.sampled_from(["sum", "mean"]), arrays(), st.booleans(), st.data())
@settings(max_examples=120, deadline=None)
def test_sum_and_mean_match_torch(where: str, name: str, x: np.ndarray, keepdim: bool, data: st.DataObject) -> None:
    dim = data.draw(axes(x.ndim))
    options = {} if dim is None else {"dim": dim, "keepdim": keepdim}
    if name == "mean" and x.size == 0:
        return  # 0 / 0 is below
    check(lambda x: getattr(x, name)(**options), {"x": x}, tolerance(x.dtype), least_scale=1.0, where=where)


def test_known_answers() -> None:
    x = gpunn.tensor(np.arange(24).reshape(2, 3, 2, 2))
    assert x.sum().item() == 276
    assert x.sum((0, 2, 3)).tolist() == [60, 92, 124]
    assert gpunn.sum(x, 1, keepdim=True).shape == (2, 1, 2, 2)
    assert gpunn.sum(x, ()).item() == 276
    assert np.isnan(gpunn.zeros(0).mean().item())
    assert gpunn.zeros(0, 3).sum(0).tolist() == [0, 0, 0]
    assert gpunn.tensor(3.0).sum(-1).item() == 3


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.int64])
def test_integers_are_added_in_int64(dtype: type) -> None:
    total = gpunn.tensor(np.full(300, 1 if dtype == np.bool_ else 200, dtype)).sum()
    assert total.dtype == np.int64
    assert total.item() == (300 if dtype == np.bool_ else 60_000)
    assert gpunn.tensor([1, 2]).sum(dtype=gpunn.float32).dtype == np.float32
    with pytest.raises(DTypeError, match="mean: expected a floating dtype"):
        gpunn.tensor([1, 2]).mean()
    assert gpunn.tensor([1, 2]).mean(dtype=gpunn.float64).item() == 1.5


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1), (0, 2, 3), (2, 3), (1, 3)])
def test_large_sums_keep_their_digits(dim: Any) -> None:
    x = np.random.Generator(np.random.Philox(3)).random((40, 60, 9, 11)).astype(np.float32)
    exact = x.sum(dim, dtype=np.float64)
    # Pairwise or in runs of 512, then in float64: a few roundings, where one after the other is off by 1e-5.
    np.testing.assert_allclose(gpunn.tensor(x).sum(dim).numpy(), exact, rtol=1.5e-6)
    tall = np.random.Generator(np.random.Philox(3)).random((3000, 5, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(gpunn.tensor(tall).sum(0).numpy(), tall.sum(0, dtype=np.float64), rtol=1.5e-6)
    column = gpunn.ones(2_000_000, 1) * 0.1
    np.testing.assert_allclose(column.sum(0).numpy(), 2e5, rtol=1e-6)


def test_same_bits_for_any_number_of_threads() -> None:
    from gpunn.cpu import threads

    x = gpunn.rand(50, 400, 8, 8)
    before = threads.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            found.append([a.numpy() for a in (x.sum(), x.sum((0, 2, 3)), x.sum(1), x.exp())])
    finally:
        threads.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradcheck() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(1)).random((2, 3, 2, 2)) + 0.5, requires_grad=True)
    assert gradcheck(lambda t: t.mean((1, 3)) * t.sum((1, 3)) + t.prod(1).sum((0, 2)), x)


@pytest.mark.parametrize("dim", [2, -3, (0, 0), (0, -2)])
def test_refuses_axes(dim: Any) -> None:
    with pytest.raises(UsageError, match="each once"):
        gpunn.ones(2, 3).sum(dim)
