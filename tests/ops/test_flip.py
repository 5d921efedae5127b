"""flip against PyTorch."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, shapes


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes())))
    dims = [a for a in range(x.ndim) if data.draw(st.booleans())]
    parity.compare(lambda x: gpunn.flip(x, dims), lambda x: parity.torch.flip(x, dims), {"x": x}, where, 0)


def test_forms() -> None:
    x = gpunn.arange(4).reshape(2, 2)
    assert x.flip(0, 1).tolist() == x.flip((0, -1)).tolist() == [[3, 2], [1, 0]]
    assert gpunn.flip(x, 1).tolist() == [[1, 0], [3, 2]]


def test_refuses_an_axis_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="flip: dim: expected axes"):
        gpunn.zeros(2).flip(1)
