"""step: its values, and that it says it has no gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.cpu.elementwise import PART
from gpunn.errors import DTypeError, GraphError
from gpunn.ops.step import step
from tests.devices import EVERYWHERE
from tests.ops import activations


def _compare(x: np.ndarray, strict: bool, where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    at_zero = parity.torch.tensor(0.0 if strict else 1.0, dtype=parity.torch.tensor(x).dtype)
    expected = parity.torch.heaviside(parity.torch.tensor(x), at_zero)
    parity.close("output", step(gpunn.tensor(x, device=where), strict).numpy(), expected.numpy(), 0)


@given(activations.arrays(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray, strict: bool) -> None:
    _compare(x, strict, "cpu")


@given(activations.arrays(), st.booleans())
@settings(max_examples=20, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray, strict: bool) -> None:
    _compare(x, strict, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_ends(where: str) -> None:
    x = np.array([-np.inf, -1e-30, -0.0, 0.0, 1e-30, np.inf, np.nan], np.float32)
    t = gpunn.tensor(x, device=where)
    np.testing.assert_array_equal(step(t).numpy(), [0, 0, 1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(step(t, strict=True).numpy(), [0, 0, 0, 0, 1, 1, np.nan])


def test_output_requires_no_gradient() -> None:
    x = gpunn.ones(3, requires_grad=True)
    y = step(x * 2)
    assert not y.requires_grad
    with pytest.raises(GraphError, match="does not require a gradient"):
        y.sum().backward()


def test_many_elements() -> None:
    x = np.random.Generator(np.random.Philox(2)).standard_normal(2 * PART + 77)
    np.testing.assert_array_equal(step(gpunn.tensor(x)).numpy(), x >= 0)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="step: expected a floating dtype; got int64"):
        step(gpunn.arange(3))
