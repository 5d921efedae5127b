"""erf against the C library's and PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError
from gpunn.ops.erf import erf_array
from tests.arrays import arrays, tolerance
from tests.devices import EVERYWHERE


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 3e-7), (np.float64, 5e-16)])
def test_as_good_as_the_dtype(dtype: Any, bound: float) -> None:
    # Two or three roundings relative to each value: the approximation itself is below one of float64.
    x = np.concatenate([np.linspace(-7, 7, 50_001), np.logspace(-30, 1, 1000), [0.5, -0.5]]).astype(dtype)
    exact = np.array([math.erf(v) for v in x])
    assert np.abs(erf_array(np, x) - exact).max() <= bound
    nonzero = exact != 0
    assert np.abs(erf_array(np, x)[nonzero] / exact[nonzero] - 1).max() <= bound


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 3e-7), (np.float64, 6e-16)])
def test_last_places(where: str, dtype: Any, bound: float) -> None:
    x = np.concatenate([np.linspace(-7, 7, 5001), np.logspace(-30, 1, 1000)]).astype(dtype)
    exact = np.array([math.erf(v) for v in x])
    y = gpunn.tensor(x, device=where).erf().numpy()
    nonzero = exact != 0
    assert np.abs(y[nonzero] / exact[nonzero] - 1).max() <= bound  # 2 units in the last place, and 1 of the C library


@pytest.mark.parametrize("where", EVERYWHERE)
@given(arrays(low=-4, high=4))
@settings(max_examples=25, deadline=None)
def test_matches_torch(where: str, x: np.ndarray) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(gpunn.erf, parity.torch.erf, {"x": x}, where, tolerance(x.dtype))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_special_values(where: str) -> None:
    y = gpunn.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0], device=where).erf().numpy()
    np.testing.assert_array_equal(y, np.array([np.nan, 1, -1, 0, -0.0], np.float32))
    assert np.signbit(y[4])


def test_gradcheck() -> None:
    assert gradcheck(gpunn.erf, gpunn.tensor(np.linspace(-2.5, 2.5, 11), requires_grad=True))


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="erf: expected a floating dtype; got int64"):
        gpunn.erf(gpunn.arange(3))
