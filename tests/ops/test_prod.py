"""Products over axes against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from tests.arrays import arrays, tolerance
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@given(arrays(low=0.9, high=1.1), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_prod_matches_torch(where: str, x: np.ndarray, keepdim: bool, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    dim = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1)) if x.ndim else None
    run = (lambda x: x.prod()) if dim is None else (lambda x: x.prod(dim, keepdim))
    # Hundreds of factors, each with its rounding.
    parity.compare(run, run, {"x": x}, where, tolerance(x.dtype, 1000))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_prod_with_zeros(where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [1.0, 2.0, 4.0]])
    parity.compare(lambda x: x.prod(1), lambda x: x.prod(1), {"x": x}, where, 1e-14)
    assert gpunn.tensor([2, 5]).prod().item() == 10
