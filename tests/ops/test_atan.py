"""The inverse circular and hyperbolic functions against PyTorch and against longer numbers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.ops.atan import FUNCTIONS
from tests.arrays import arrays, tolerance
from tests.devices import EVERYWHERE

NAMES = sorted(FUNCTIONS)
DOMAINS = {"acos": (-1, 1), "acosh": (1, 50), "asin": (-1, 1), "asinh": (-50, 50), "atan": (-50, 50), "atanh": (-1, 1)}
# What CUDA's guide gives as the largest errors; those of the C library and of NumPy are no larger.
ULPS = {np.float32: 4, np.float64: 3}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", ULPS)
@pytest.mark.parametrize("name", NAMES)
def test_last_places(where: str, name: str, dtype: Any) -> None:
    low, high = DOMAINS[name]
    small = np.logspace(-30, 0, 301)
    x = np.concatenate([np.linspace(low, high, 4001), 1 + small * (high - 1), low + small, high - small, small, -small])
    x = x[(x >= low) & (x <= high)].astype(dtype)
    with np.errstate(divide="ignore"):
        exact = getattr(np, FUNCTIONS[name].ufunc)(x.astype(np.longdouble))
    y = getattr(gpunn.tensor(x, device=where), name)().numpy()
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(y[~finite], exact[~finite].astype(dtype))
    off = np.abs(y[finite] - exact[finite]) / np.spacing(np.abs(exact[finite]).astype(dtype))
    assert off.max() <= ULPS[dtype] + 0.5


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", ULPS)
def test_last_places_of_atan2(where: str, dtype: Any) -> None:
    rng = np.random.Generator(np.random.Philox(5))
    a, b = (10.0 ** rng.uniform(-9, 9, 4000) * rng.choice([-1, 1], 4000) for _ in "ab")
    a, b = a.astype(dtype), b.astype(dtype)
    exact = np.arctan2(a.astype(np.longdouble), b.astype(np.longdouble))
    y = gpunn.atan2(gpunn.tensor(a, device=where), gpunn.tensor(b, device=where)).numpy()
    off = np.abs(y - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert off.max() <= ULPS[dtype] + 0.5


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", ULPS)
def test_quadrants_and_signed_zeros(where: str, dtype: Any) -> None:
    line = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, math.inf, -math.inf, math.nan]
    a, b = np.array(list(itertools.product(line, line)), dtype).T
    y = gpunn.atan2(gpunn.tensor(a, device=where), gpunn.tensor(b, device=where)).numpy()
    expected = np.array([math.atan2(u, v) for u, v in zip(a, b, strict=True)], dtype)
    np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps)  # see ULPS
    np.testing.assert_array_equal(np.signbit(y), np.signbit(expected) & ~np.isnan(y))


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", [*NAMES, "atan2"])
def test_special_values(where: str, name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    line = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 1e-30, 1e30], np.float32)
    given = [line] if name != "atan2" else [x.reshape(-1) for x in np.meshgrid(line[:-2], line[:-2])]
    found = []
    for make in (
        lambda x: gpunn.tensor(x, device=where, requires_grad=True),
        lambda x: parity.torch.tensor(x).requires_grad_(),
    ):
        leaves = [make(x) for x in given]
        library = gpunn if isinstance(leaves[0], gpunn.Tensor) else parity.torch
        y = getattr(library, name)(*leaves)
        y.sum().backward()
        found.append([y.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=5e-7)  # 4 places of each library's function
        nothing = (mine == 0) & (theirs == 0)
        if mine is found[0][0]:
            np.testing.assert_array_equal(np.signbit(mine[nothing]), np.signbit(theirs[nothing]))


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_matches_torch(where: str, name: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    low, high = (1.1, 4.0) if name == "acosh" else (-0.9, 0.9)
    x = data.draw(arrays(low=low, high=high))
    parity.compare(getattr(gpunn, name), getattr(parity.torch, name), {"x": x}, where, tolerance(x.dtype))


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name: str) -> None:
    low, high = (1.2, 3.0) if name == "acosh" else (-0.8, 0.8)
    assert gradcheck(getattr(gpunn, name), gpunn.tensor(np.linspace(low, high, 9), requires_grad=True))
