"""cumsum against PyTorch, also in a captured step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes

gpunn: Any = typed

# A handful of terms of order one, added in another order.
TOLERANCE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-14}


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=1))))
    dim = axis(data.draw, x.ndim)
    parity.compare(
        lambda x: gpunn.cumsum(x, dim), lambda x: parity.torch.cumsum(x, dim), {"x": x}, where, TOLERANCE[x.dtype],
        least_scale=1,
    )  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
def test_long_axes_integers_and_numbers(where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    # Its partial sums are of order 50, with some 2000 roundings.
    long = np.random.Generator(np.random.Philox(1)).standard_normal((2, 2000))
    parity.compare(lambda x: x.cumsum(1), lambda x: x.cumsum(1), {"x": long}, where, 1e-12)
    whole = gpunn.tensor([[True, False, True]], device=where).cumsum(-1)
    assert (whole.tolist(), whole.dtype) == ([[1, 1, 2]], gpunn.int64)
    assert gpunn.tensor([1, 2], device=where).cumsum(0, dtype="float64").dtype == gpunn.float64
    assert gpunn.tensor(3.0, device=where).cumsum(0).item() == 3.0


@pytest.mark.parametrize("where", EVERYWHERE)
def test_what_is_not_finite_reaches_the_sums_behind_it_only(where: str) -> None:
    x = gpunn.ones(3000, device=where)
    x[1500] = np.inf
    x[2100] = -np.inf
    y = x.cumsum(0).numpy()
    assert y[:1500].tolist() == [*range(1, 1501)]
    assert np.isposinf(y[1500:2100]).all()
    assert np.isnan(y[2100:]).all()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_sums_of_whole_numbers_are_exact(where: str) -> None:
    x = gpunn.full((2, 3000), 2**40 + 1, dtype="int64", device=where)
    assert (x.cumsum(1).numpy() == (2**40 + 1) * np.arange(1, 3001)).all()


def test_captured_equals_eager(kernels: str) -> None:
    leaf = gpunn.tensor([0.5, -1.0, 2.0], device=kernels, requires_grad=True)

    def step(x: Any) -> Any:
        leaf.grad = None
        loss = (x * leaf).cumsum(1).square().sum()
        loss.backward()
        return loss

    captured = gpunn.capture(step)
    for seed in range(3):
        numbers = np.random.Generator(np.random.Philox(seed)).standard_normal((4, 3)).astype(np.float32)
        x = gpunn.tensor(numbers, device=kernels)
        expected = step(x).item(), leaf.grad.tolist()
        assert (captured(x).item(), leaf.grad.tolist()) == expected
