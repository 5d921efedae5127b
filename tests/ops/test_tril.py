"""tril and triu against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import ShapeError
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, shapes


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x, k = data.draw(arrays(data.draw(shapes(least=2)))), data.draw(st.integers(-4, 4))
    for name in ("tril", "triu"):
        parity.compare(
            lambda x, f=name: getattr(gpunn, f)(x, k), lambda x, f=name: getattr(parity.torch, f)(x, k), {"x": x},
            where, 0,
        )  # fmt: skip


def test_what_is_cut_off_may_be_anything() -> None:
    x = gpunn.tensor(np.array([[1.0, np.nan], [np.inf, 2.0]]))
    assert x.tril().triu().tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert gpunn.ones(2, 2, dtype=bool).triu(1).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("name", ["tril", "triu"])
def test_refuses_vectors(name: str) -> None:
    with pytest.raises(ShapeError, match=f"{name}: expected matrices"):
        getattr(gpunn.zeros(3), name)()
