"""erfinv against the C library's error function and PyTorch's erfinv."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn._gradcheck import gradcheck
from tests.arrays import arrays, tolerance
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_last_places(where: str, dtype: Any) -> None:
    """Between its neighbours a few places away lies the number whose error function x is."""
    small = np.logspace(-30, 0, 401)[:-1]
    x = np.concatenate([np.linspace(0.01, 0.99, 2001), small, 1 - small, 1 - 2.0 ** -np.arange(1, 53)]).astype(dtype)
    x = np.unique(x[(x > 0) & (x < 1)])
    y = gpunn.tensor(x, device=where).erfinv().numpy().astype(np.float64)
    # 5 units of CUDA's erfinv, and 2 of erf and erfc in double, which are here taken for exact.
    places = (5 + 2) * float(np.finfo(dtype).eps)
    for at, near in zip(x.astype(np.float64), y, strict=True):
        below, above = near * (1 - places), near * (1 + places)
        if at < 0.5:
            assert math.erf(below) <= at <= math.erf(above)
        else:
            assert math.erfc(below) >= 1 - at >= math.erfc(above)
    other = gpunn.tensor(-x, device=where).erfinv().numpy()
    np.testing.assert_array_equal(other, -y)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(where: str, dtype: Any) -> None:
    x = np.array([0.0, -0.0, 1.0, -1.0, 1.5, -1.5, np.inf, -np.inf, np.nan], dtype)
    t = gpunn.tensor(x, device=where, requires_grad=True)
    y = t.erfinv()
    y.sum().backward()
    expected = np.array([0.0, -0.0, np.inf, -np.inf, *[np.nan] * 5], dtype)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    assert np.signbit(y.detach().numpy()[:2]).tolist() == [False, True]
    middle = np.full(2, 0.88622692545275801365, dtype)  # sqrt(pi) / 2
    np.testing.assert_array_equal(t.grad.numpy(), [*middle, np.inf, np.inf, *[np.nan] * 5])


@pytest.mark.parametrize("where", EVERYWHERE)
@given(arrays(low=-0.95, high=0.95))
@settings(max_examples=25, deadline=None)
def test_matches_torch(where: str, x: np.ndarray) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(gpunn.erfinv, parity.torch.erfinv, {"x": x}, where, tolerance(x.dtype))


def test_gradcheck() -> None:
    assert gradcheck(gpunn.erfinv, gpunn.tensor(np.linspace(-0.9, 0.9, 11), requires_grad=True))
