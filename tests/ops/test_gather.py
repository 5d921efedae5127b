"""gather, index_select and take_along_dim against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes
from tests.ops.index_keys import BOUND


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_index_select_and_gather_match_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=1, lengths=st.integers(1, 4)))))
    at = axis(data.draw, x.ndim)
    rng = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 99))))
    line = rng.integers(0, x.shape[at], data.draw(st.integers(0, 6)))
    size = [data.draw(st.integers(0, 3 if a == at % x.ndim else n)) for a, n in enumerate(x.shape)]
    places = rng.integers(0, x.shape[at], size)
    wide = [1 if data.draw(st.booleans()) else n for n in x.shape]
    along = rng.integers(0, x.shape[at], wide)
    for name, index in (("index_select", line), ("gather", places), ("take_along_dim", along)):

        def run(module: Any, x: Any, index: Any, f: str = name) -> Any:
            return getattr(module, f)(x, index, at) if f == "take_along_dim" else getattr(module, f)(x, at, index)

        parity.compare(
            lambda x, index: run(gpunn, x, index), lambda x, index: run(parity.torch, x, index),
            {"x": x, "index": index}, where, BOUND[x.dtype], (), 1,
        )  # fmt: skip
