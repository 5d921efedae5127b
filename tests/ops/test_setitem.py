"""``x[key] = value`` against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import GraphError, ShapeError
from tests.ops.index_keys import cases


@given(cases(), st.data())
@settings(max_examples=300, deadline=None)
def test_assignment_matches_torch(case: tuple, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    x, ours, theirs = case
    mine, other = gpunn.tensor(x), torch.tensor(x)
    shape = tuple(other[theirs].shape)
    # PyTorch leaves open which of several values an element gets: one value for all there.
    for part in theirs:
        if hasattr(part, "dtype") and part.dtype != torch.bool:
            shape = ()
    narrow = tuple(1 if data.draw(st.booleans()) else n for n in shape)
    values = np.asarray(np.random.Generator(np.random.Philox(0)).standard_normal(narrow), x.dtype)
    mine[ours] = data.draw(st.sampled_from([values, gpunn.tensor(values)]))
    other[theirs] = torch.tensor(values)
    np.testing.assert_array_equal(mine.numpy(), other.numpy())
    mine[ours] = 2
    other[theirs] = 2
    np.testing.assert_array_equal(mine.numpy(), other.numpy())


def test_of_several_values_the_last_counts() -> None:
    x = gpunn.zeros(2, 4)
    x[:, [1, 3, 1, 1]] = gpunn.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    assert x.tolist() == [[0.0, 4.0, 0.0, 2.0], [0.0, 8.0, 0.0, 6.0]]


def test_a_value_may_have_more_axes_of_one() -> None:
    x = gpunn.zeros(2, 3)
    x[0] = gpunn.ones(1, 1, 3)
    x[:, [2, 0]] = gpunn.tensor([[[[5.0, 6.0]]]])
    assert x.tolist() == [[6.0, 1.0, 5.0], [6.0, 0.0, 5.0]]


def test_assignment_converts_and_counts_as_a_change() -> None:
    x = gpunn.zeros(3, dtype=np.int64)
    x[1:] = 2.7
    assert x.tolist() == [0, 2, 2]
    w = gpunn.ones(3, requires_grad=True)
    y = (w * w).sum()
    with gpunn.no_grad():
        w[0] = 5
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()
    assert w.detach().tolist() == [5.0, 1.0, 1.0]


def test_a_refused_assignment_leaves_the_tensor_and_its_storage_alone() -> None:
    x = gpunn.zeros(2, 3)
    before = x._storage.count
    with pytest.raises(ShapeError):
        x[0] = gpunn.zeros(2)
    assert (x.tolist(), x._storage.count) == ([[0.0] * 3] * 2, before)
