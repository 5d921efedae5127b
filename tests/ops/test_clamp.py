"""clamp against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError, UsageError
from tests.arrays import arrays
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@given(arrays(), st.sampled_from([(None, 0.5), (-0.5, None), (-0.5, 0.5), (0, 1), (0.5, -0.5)]))
@settings(max_examples=60, deadline=None)
def test_matches_torch(where: str, x: np.ndarray, bounds: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(lambda x: gpunn.clamp(x, *bounds), lambda x: parity.torch.clamp(x, *bounds), {"x": x}, where, 0)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_at_the_bounds_and_special_values(where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    values = np.array([np.nan, np.inf, -np.inf, -1.0, 1.0, 0.0], np.float32)
    ours, theirs = (
        gpunn.tensor(values, device=where, requires_grad=True),
        parity.torch.tensor(values, requires_grad=True),
    )
    y, t = ours.clip(-1, 1), theirs.clip(-1, 1)
    y.backward(gpunn.ones(6, device=where))
    t.backward(parity.torch.ones(6))
    np.testing.assert_array_equal(y.detach().numpy(), t.detach().numpy())
    np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.numpy())


def test_tensors_as_bounds() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    x, low = gpunn.tensor(rng.standard_normal((2, 3, 2, 2)), requires_grad=True), gpunn.tensor(-rng.random((3, 1, 1)))
    assert gradcheck(lambda t: t.clamp(low, 0.7), x)
    assert gpunn.clamp(gpunn.tensor([1.0, 5.0]), max=gpunn.tensor([2.0, 2.0])).tolist() == [1.0, 2.0]


def test_large() -> None:
    x = np.linspace(-1, 1, 200_001)
    y = gpunn.tensor(x, requires_grad=True)
    y.clamp(-0.5, 0.25).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), (x >= -0.5) & (x <= 0.25))


def test_integers_and_refusals() -> None:
    assert gpunn.arange(5).clamp(1, 3).tolist() == [1, 1, 2, 3, 3]
    with pytest.raises(UsageError, match="expected min, max or both"):
        gpunn.arange(5).clamp()
    with pytest.raises(DTypeError, match="clamp: 300 does not fit into uint8"):
        gpunn.ones(2, dtype="uint8").clamp(0, 300)
    with pytest.raises(DTypeError, match="clamp: expected numbers; got bools"):
        gpunn.ones(2, dtype="bool").clamp(True)
    with pytest.raises(DTypeError, match="expected numbers or tensors as bounds; got str"):
        gpunn.ones(2).clamp("a")
