"""The larger and smaller of two tensors against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from tests.arrays import arrays
from tests.devices import EVERYWHERE
from tests.ops.arrays import ties


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.sampled_from(["maximum", "minimum"]), arrays(st.just((2, 3, 1, 4))), st.sampled_from([(), (4,), (3, 2, 1)]))
@settings(max_examples=40, deadline=None)
def test_of_two(where: str, name: str, a: np.ndarray, shape: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    b = np.round(np.random.Generator(np.random.Philox(1)).uniform(-2, 2, shape)).astype(a.dtype)
    ours, theirs = getattr(gpunn, name), getattr(parity.torch, name)
    # Sums of whole and half gradients.
    parity.compare(
        lambda a, b: ours(a, b), lambda a, b: theirs(a, b), {"a": ties(a), "b": b}, where, 1e-6, least_scale=1.0
    )
