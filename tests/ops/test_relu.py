"""relu against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn.errors import DTypeError
from gpunn.ops.relu import relu
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(0,), (1,), (1023,), (3, 5, 4, 2)])
def test_matches_torch(where: str, shape: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(0)).standard_normal(shape).astype(np.float32)
    x.flat[::5] = 0
    parity.compare(relu, parity.torch.relu, {"x": x}, where, 0)


def test_special_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0], np.float32)
    np.testing.assert_array_equal(relu(gpunn.tensor(x)).numpy(), np.array([np.nan, np.inf, 0, 0, 0], np.float32))


def test_infinite_gradient_stays_out_of_closed_units() -> None:
    x = gpunn.tensor(np.array([-1.0, 1.0], np.float32), requires_grad=True)
    relu(x).backward(gpunn.tensor(np.array([np.inf, 2.0], np.float32)))
    assert x.grad.tolist() == [0.0, 2.0]


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="expected a floating dtype; got int64"):
        relu(gpunn.arange(3))
