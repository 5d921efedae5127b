"""Functions of one element against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError
from gpunn.ops import unary
from tests.arrays import arrays, tolerance
from tests.devices import EVERYWHERE

NAMES = sorted(unary.FUNCTIONS)
# PyTorch itself is a few roundings off near a pole, where the gradient of 1 / x^1.5 multiplies them.
POSITIVE = ("log", "sqrt", "rsqrt", "reciprocal")


def _ours(name: str) -> Any:
    return getattr(gpunn, name)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_matches_torch(where: str, name: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(low=0.1 if name in POSITIVE else -0.9 if name == "log1p" else -3.0, high=3.0))
    parity.compare(_ours(name), getattr(parity.torch, name), {"x": x}, where, tolerance(x.dtype))


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    torch = parity.torch
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 0.5, 1.5, 2.5, -0.5, 1e-30, 1e30], np.float32)
    ours, theirs = gpunn.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, t = getattr(ours, name)(), getattr(torch, name)(theirs)
    y.sum().backward()
    t.sum().backward()
    # The last bits of sin(1e30) belong to nobody.
    close: dict[str, Any] = {"rtol": 2e-6, "atol": 1e-38}
    np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), **close)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), **close)


@pytest.mark.parametrize("name", [n for n in NAMES if unary.FUNCTIONS[n].gradient is not None])
def test_gradcheck(name: str) -> None:
    x = gpunn.tensor(np.linspace(0.3, 2.2, 24).reshape(2, 3, 4, 1), requires_grad=True)
    assert gradcheck(_ours(name), x)


@pytest.mark.parametrize("name", NAMES)
def test_large_arrays_are_cut_into_parts(name: str) -> None:
    x = np.linspace(0.1, 3, 300_001).astype(np.float32)
    whole = getattr(gpunn.tensor(x), name)().numpy()
    few = np.concatenate([getattr(gpunn.tensor(p.copy()), name)().numpy() for p in np.split(x, [100, 150_007])])
    # A vector's last elements may go through NumPy's scalar code, which rounds differently in the last bit.
    np.testing.assert_allclose(whole, few, rtol=3e-7)


def test_integers() -> None:
    x = gpunn.tensor([-2, 0, 3])
    assert gpunn.abs(x).tolist() == [2, 0, 3]
    assert x.sign().tolist() == [-1, 0, 1]
    assert x.square().dtype == np.int64
    assert (abs(x).tolist(), (-x).tolist()) == ([2, 0, 3], [2, 0, -3])
    with pytest.raises(DTypeError, match=r"exp: expected a floating dtype; got int64. Convert with .float\(\)"):
        x.exp()
    with pytest.raises(DTypeError, match="abs: expected numbers; got bool"):
        gpunn.abs(x > 0)


def test_changed_input_is_noticed() -> None:
    x = gpunn.ones(3, requires_grad=True)
    y = x.log().sum()
    x.data.fill_(2.0)
    with pytest.raises(gpunn.errors.GraphError, match="changed in place"):
        y.backward()
