"""sort, argsort and topk against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from gpunn.errors import CaptureError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes, ties

gpunn: Any = typed


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_sort_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=1))))
    options = {"dim": axis(data.draw, x.ndim), "descending": data.draw(st.booleans()), "stable": True}
    parity.compare(
        lambda x: gpunn.sort(x, **options).values, lambda x: parity.torch.sort(x, **options).values, {"x": x}, where, 0
    )
    equal = ties(x)
    mine, theirs = gpunn.tensor(equal, device=where), parity.torch.tensor(equal)
    assert mine.sort(**options).indices.tolist() == parity.torch.sort(theirs, **options).indices.tolist()
    assert mine.argsort(**options).tolist() == parity.torch.argsort(theirs, **options).tolist()


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_topk_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=1))))
    dim = axis(data.draw, x.ndim)
    k, largest = data.draw(st.integers(0, x.shape[dim])), data.draw(st.booleans())
    parity.compare(
        lambda x: x.topk(k, dim, largest).values, lambda x: x.topk(k, dim, largest).values, {"x": x}, where, 0
    )
    mine, theirs = gpunn.tensor(x, device=where), parity.torch.tensor(x)
    assert gpunn.topk(mine, k, dim, largest).indices.tolist() == theirs.topk(k, dim, largest).indices.tolist()


def test_numbers_nan_and_truths() -> None:
    torch = pytest.importorskip("torch")
    for library in (gpunn, torch):
        values, indices = library.sort(library.tensor(2.0))
        assert (values.item(), indices.item()) == (2.0, 0)
        x = library.tensor([1.0, float("nan"), float("inf"), -2.0])
        assert x.argsort().tolist() == [3, 0, 2, 1]
        assert x.argsort(descending=True).tolist() == [1, 2, 0, 3]
        assert x.topk(2).indices.tolist() == [1, 2]
        assert library.sort(library.tensor([True, False])).indices.tolist() == [1, 0]


def _several_times(step: Any, x: Any) -> None:
    for _ in range(3):  # the first one is not captured
        step(x)


def test_refusals(kernels: str) -> None:
    with pytest.raises(UsageError, match="topk: k: expected at most 3"):
        gpunn.ones(2, 3).topk(4)
    with pytest.raises(UsageError, match="sort: descending"):
        gpunn.sort(gpunn.ones(3), 0, "down")
    with pytest.raises(CaptureError, match="sort_places"):
        _several_times(gpunn.capture(lambda x: x.sort().values.sum()), gpunn.ones(3, device=kernels))
