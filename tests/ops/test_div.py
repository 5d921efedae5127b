"""Floored division and its remainder."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn.errors import UsageError
from tests.arrays import check


def test_remainder_and_floor_division() -> None:
    values = np.array([5.5, -5.5, 7.0, 0.0], np.float32)
    for divisor in (3, -3):
        check(lambda x, d=divisor: x % d, {"x": values}, 1e-6)
    assert (gpunn.tensor([7, -7]) // 2).tolist() == [3, -4]
    with pytest.raises(UsageError, match="the divisor gets no gradient"):
        gpunn.ones(2) % gpunn.ones(2, requires_grad=True)
