"""Arithmetic in place."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
def test_in_place_on_itself_and_on_bools(where: str) -> None:
    x = gpunn.tensor(np.arange(12.0).reshape(3, 4), device=where)
    x.add_(x)
    np.testing.assert_array_equal(x.numpy(), 2 * np.arange(12.0).reshape(3, 4))
    x.mul_(x.sum(0, keepdim=True))
    assert x[1, 2].item() == 12 * (4 + 12 + 20)
    mask = gpunn.tensor([True, False, False], device=where)
    assert mask.add_(gpunn.tensor([True, True, False], device=where)).tolist() == [True, True, False]
