"""Powers against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import UsageError
from tests.arrays import arrays, tolerance
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@given(arrays(low=0.2, high=2.0), st.sampled_from([0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.7]))
@settings(max_examples=60, deadline=None)
def test_number_as_exponent(where: str, x: np.ndarray, p: float) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(lambda x: x**p, lambda x: x**p, {"x": x}, where, tolerance(x.dtype, 100))


@pytest.mark.parametrize("where", EVERYWHERE)
@given(arrays(low=-2, high=2.0), st.sampled_from([2, 0.7, 3.0]))
@settings(max_examples=30, deadline=None)
def test_number_as_base(where: str, x: np.ndarray, base: float) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(lambda x: base**x, lambda x: base**x, {"x": x}, where, tolerance(x.dtype, 100))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_tensors_and_edges(where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    base = np.array([0.0, 0.0, 0.0, 2.0, -2.0, -2.0, 1.5, np.inf, np.nan])
    exponent = np.array([0.0, 2.0, 1.0, 0.0, 2.0, 3.0, -1.5, 0.5, 0.0])
    mine = [gpunn.tensor(a, device=where, requires_grad=True) for a in (base, exponent)]
    other = [parity.torch.tensor(a, requires_grad=True) for a in (base, exponent)]
    y, t = mine[0] ** mine[1], other[0] ** other[1]
    y.sum().backward()
    t.sum().backward()
    for got, expected in ((y, t), *((m.grad, o.grad) for m, o in zip(mine, other, strict=True))):
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-14)


def test_gradcheck_with_broadcasting() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    a, b = (gpunn.tensor(0.5 + rng.random(s), requires_grad=True) for s in ((2, 3, 1, 2), (3, 2, 1)))
    assert gradcheck(lambda u, v: u**v, (a, b))


def test_integers() -> None:
    assert (gpunn.tensor([2, -3]) ** 3).tolist() == [8, -27]
    assert (2 ** gpunn.tensor([0, 5])).tolist() == [1, 32]
    assert gpunn.pow(gpunn.tensor([4, 9]), 0.5).tolist() == [2.0, 3.0]
    with pytest.raises(UsageError, match="integers have no negative powers"):
        gpunn.tensor([2]) ** -1
    with pytest.raises(UsageError, match="integers have no negative powers"):
        gpunn.tensor([2]) ** gpunn.tensor([-1])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_gradient_times_the_exponent_may_overflow(where: str) -> None:
    x = gpunn.tensor([0.5, 0.25], device=where, requires_grad=True)
    (x**3e38).backward(gpunn.tensor([2.0, 4.0], device=where))  # the slope rounds to 0
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]
