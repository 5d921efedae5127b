"""Variance and standard deviation against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DTypeError
from tests.arrays import arrays, check, shapes, tolerance
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@given(
    st.sampled_from(["var", "std"]),
    arrays(shapes(1).filter(lambda s: 0 not in s)),
    st.sampled_from([0, 1, 0.5]),
    st.booleans(),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_matches_torch(
    where: str, name: str, x: np.ndarray, correction: float, keepdim: bool, data: st.DataObject
) -> None:
    dim = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | st.just(tuple(range(x.ndim))))
    count = x.size if dim is None or isinstance(dim, tuple) else x.shape[dim]
    if count <= 2:
        return  # nothing to spread, or differences of two numbers that may be alike
    # The gradient of a root divides by it; three numbers of order 1 are rarely closer than 1e-2.
    check(
        lambda x: getattr(x, name)(dim, correction=correction, keepdim=keepdim),
        {"x": x},
        tolerance(x.dtype, 400),
        where=where,
    )


def test_forms_of_the_arguments() -> None:
    x = np.random.Generator(np.random.Philox(1)).standard_normal((3, 4))
    for arguments in ((), (0,), (False,), (True,), (1, False), (1, True, True), ((0, 1), False, True)):
        check(lambda x, given=arguments: x.std(*given), {"x": x}, 1e-13)


def test_far_from_zero() -> None:
    # The mean goes first: squares of 1e4 have no digits left for a spread of 1.
    x = 1e4 + np.random.Generator(np.random.Philox(1)).standard_normal(10_000)
    exact = x.astype(np.float32).astype(np.float64).var(ddof=1)
    np.testing.assert_allclose(gpunn.tensor(x.astype(np.float32)).var().item(), exact, rtol=1e-6)


def test_constant_and_too_few() -> None:
    x = gpunn.full((2, 3), 2.0, requires_grad=True)
    x.std(1).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert np.isnan(gpunn.ones(1).var().item())
    assert gpunn.ones(1).var(correction=0).item() == 0
    assert np.isnan(gpunn.zeros(0).std().item())


def test_gradcheck() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(1)).random((2, 3, 2, 2)), requires_grad=True)
    assert gradcheck(lambda t: gpunn.var(t, (0, 2)), x)
    assert gradcheck(lambda t: gpunn.std(t, 1, keepdim=True) * t, x)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="var: expected a floating dtype"):
        gpunn.arange(3).var()
