"""nonzero and masked_select against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from tests.ops.arrays import arrays, shapes
from tests.ops.index_keys import BOUND


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_masked_select_and_nonzero_match_torch(data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    torch = parity.torch
    x = data.draw(arrays(data.draw(shapes(most=4))))
    mask = data.draw(arrays(tuple(1 if data.draw(st.booleans()) else n for n in x.shape))) > 0
    parity.compare(gpunn.masked_select, torch.masked_select, {"x": x, "mask": np.asarray(mask)}, "cpu", BOUND[x.dtype])
    places = gpunn.nonzero(gpunn.tensor(x > 0))
    assert isinstance(places, gpunn.Tensor)
    np.testing.assert_array_equal(places.numpy(), torch.nonzero(torch.tensor(x > 0)).numpy())
    for a, b in zip(
        gpunn.nonzero(gpunn.tensor(x), as_tuple=True), torch.nonzero(torch.tensor(x), as_tuple=True), strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
