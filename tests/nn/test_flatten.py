"""Flatten and Unflatten against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError


@pytest.mark.parametrize("batch", [2, 0])
def test_there_and_back(batch: int) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(0)).standard_normal((batch, 3, 4, 5)).astype(np.float32)
    flatten, unflatten = parity.torch.nn.Flatten(), parity.torch.nn.Unflatten(1, (3, 4, 5))
    parity.compare(nn.Flatten(), lambda x: flatten(x), {"x": x}, "cpu", 0)
    rows = x.reshape(batch, 60)
    parity.compare(nn.Unflatten(1, (3, 4, 5)), lambda x: unflatten(x), {"x": rows}, "cpu", 0)
    assert repr(nn.Unflatten(1, (3, 4))) == repr(parity.torch.nn.Unflatten(1, (3, 4)))
    back = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 4, 5)))
    np.testing.assert_array_equal(back(gpunn.tensor(x)).numpy(), x)


def test_refuses_lengths_that_do_not_multiply() -> None:
    with pytest.raises(ShapeError, match=r"Unflatten.*: cannot split axis 1 of \(2, 6\), of length 6, into \(4, 2\)"):
        nn.Unflatten(1, (4, 2))(gpunn.zeros(2, 6))
