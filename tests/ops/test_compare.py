"""Comparisons, logic, all and any against PyTorch; identity where Python asks for it."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.arrays import arrays
from tests.devices import EVERYWHERE

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


@pytest.mark.parametrize("where", EVERYWHERE)
@given(
    st.sampled_from(COMPARISONS), arrays(st.just((2, 3, 1, 4))), st.sampled_from([(), (4,), (3, 2, 1), (2, 1, 2, 4)])
)
@settings(max_examples=40, deadline=None)
def test_matches_torch(where: str, name: str, a: np.ndarray, shape: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    a = np.round(a)
    b = np.round(np.random.Generator(np.random.Philox(1)).uniform(-2, 2, shape)).astype(a.dtype)
    f = getattr(operator, name)
    x = gpunn.tensor(a, device=where)
    got = f(x, gpunn.tensor(b, device=where))
    np.testing.assert_array_equal(got.numpy(), f(parity.torch.tensor(a), parity.torch.tensor(b)).numpy())
    np.testing.assert_array_equal(getattr(x, name)(1).numpy(), f(a, 1))
    assert got.dtype == np.bool_
    assert not got.requires_grad


def test_other_things_are_unequal_not_errors() -> None:
    x = gpunn.ones(2)
    assert x.__eq__(None) is NotImplemented
    assert x != "a"
    assert x not in (None, "a")
    with pytest.raises(TypeError):
        _ = x < "a"
    with pytest.raises(ShapeError, match="do not broadcast"):
        _ = x == gpunn.ones(3)


def test_sets_and_dicts_go_by_identity() -> None:
    a, b = gpunn.ones(2), gpunn.ones(2)
    assert len({a, b, a}) == 2
    assert {a: 1, b: 2}[b] == 2
    assert a in [a, b]
    assert b in {a, b}
    assert gpunn.ones(2) not in {a, b}
    with pytest.raises(UsageError, match="ambiguous"):
        _ = gpunn.ones(2) in [a, b]


def test_truth() -> None:
    assert bool(gpunn.tensor([[2.0]]))
    assert not gpunn.tensor(0)
    assert (float(gpunn.tensor([1.5])), int(gpunn.tensor(2.7))) == (1.5, 2)
    assert [10, 20][gpunn.tensor(1)] == 20
    for x in (gpunn.ones(2), gpunn.ones(0)):
        with pytest.raises(UsageError, match="ambiguous"):
            bool(x)
    with pytest.raises(UsageError, match="integer tensor as an index"):
        _ = [1, 2][gpunn.tensor(1.0)]


def test_logic() -> None:
    parity = pytest.importorskip("tests.parity")
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    m, n = np.array([6, 3, -1, 0]), np.array([3, 5, 7, 1])
    for first, second in ((a, b), (m, n), (a, m)):
        for f in (operator.and_, operator.or_, operator.xor):
            expected = f(parity.torch.tensor(first), parity.torch.tensor(second)).numpy()
            np.testing.assert_array_equal(f(gpunn.tensor(first), gpunn.tensor(second)).numpy(), expected)
    np.testing.assert_array_equal((~gpunn.tensor(a)).numpy(), ~a)
    np.testing.assert_array_equal((~gpunn.tensor(m)).numpy(), ~m)
    np.testing.assert_array_equal((gpunn.tensor(a) & True).numpy(), a)
    assert gpunn.tensor([0.0, 2.0]).logical_not().tolist() == [True, False]
    with pytest.raises(DTypeError, match="expected bools or integers"):
        gpunn.ones(2) & gpunn.ones(2)
    with pytest.raises(DTypeError, match="not: expected bools or integers"):
        ~gpunn.ones(2)


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.sampled_from(["all", "any"]), arrays(), st.booleans(), st.data())
@settings(max_examples=50, deadline=None)
def test_all_and_any(where: str, name: str, x: np.ndarray, keepdim: bool, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    mask = x > 0.5
    mine, other = getattr(gpunn.tensor(mask, device=where), name), getattr(parity.torch.tensor(mask), name)
    np.testing.assert_array_equal(mine().numpy(), other().numpy())
    if x.ndim:
        dim = data.draw(st.integers(-x.ndim, x.ndim - 1))
        np.testing.assert_array_equal(mine(dim, keepdim).numpy(), other(dim, keepdim).numpy())


def test_nan_and_infinity() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1.0])
    t = gpunn.tensor(x)
    np.testing.assert_array_equal(t.isnan().numpy(), np.isnan(x))
    np.testing.assert_array_equal(gpunn.isinf(t).numpy(), np.isinf(x))
    np.testing.assert_array_equal(gpunn.isfinite(t).numpy(), np.isfinite(x))
    assert gpunn.isnan(gpunn.arange(2)).tolist() == [False, False]


def test_equal_and_allclose() -> None:
    x = gpunn.tensor([1.0, 2.0])
    assert gpunn.equal(x, x + 0)
    assert not x.equal(gpunn.tensor([1.0, 3.0]))
    assert not gpunn.equal(x, gpunn.ones(3))
    assert gpunn.allclose(x, x + 1e-6)
    assert not gpunn.allclose(x, x + 1e-3)
