"""sort, argsort and topk against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from gpunn.errors import UsageError
from gpunn.primitive import count_bodies
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


# Rows shorter than a block's chunk of 1,024, of one chunk, and of 2, 3 and 5, where a last run has no partner.
@pytest.mark.parametrize(("rows", "length"), [(300, 3), (9, 100), (2, 1024), (2, 1025), (2, 3000), (1, 5000)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_kernels_order_is_stable(kernels: str, dtype: str, rows: int, length: int) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    x = rng.integers(0 if dtype == "uint8" else -3, 4, (rows, length)).astype(dtype)
    if x.dtype.kind == "f":
        # Equal: both zeros; behind all: NaN of both signs.
        x.flat[::7], x.flat[1::7], x.flat[2::7], x.flat[3::7] = -0.0, np.nan, -np.nan, np.inf
        x.flat[4::7] = rng.standard_normal(x.flat[4::7].size)
        x.flat[5::7] = np.finfo(dtype).smallest_subnormal * rng.integers(-5, 5, x.flat[5::7].size)
    ordered = gpunn.tensor(x, device=kernels)
    expected = np.argsort(x, 1, kind="stable")
    np.testing.assert_array_equal(ordered.argsort(1).numpy(), expected)
    np.testing.assert_array_equal(ordered.sort(1).values.numpy(), np.take_along_axis(x, expected, 1))
    # The other way round, with equal ones still as they come.
    backwards = length - 1 - np.argsort(x[:, ::-1], 1, kind="stable")[:, ::-1]
    np.testing.assert_array_equal(ordered.argsort(1, True).numpy(), backwards)


@pytest.mark.parametrize("length", [5, 1500])
def test_captured_order_equals_eager(kernels: str, length: int) -> None:
    def step(x: Any) -> Any:
        w.grad = None
        values, _ = (w * x).sort(0)
        best = (w * x).topk(3, 0)
        (values * values + best.values.sum()).sum().backward()
        return gpunn.cat([w.grad.reshape(-1), best.indices.reshape(-1).double(), x.median(1).values])

    w: Any = gpunn.linspace(-1, 1, 2 * length, device=kernels).reshape(length, 2).requires_grad_()
    captured = gpunn.capture(step)
    for seed in range(3):
        x = gpunn.tensor(np.random.default_rng(seed).standard_normal((length, 2)).astype("f4"), device=kernels)
        with count_bodies() as bodies:
            expected = step(x).tolist()
        assert {body for _, body in bodies} == {"kernel"}, [name for name, body in bodies if body != "kernel"]
        assert captured(x).tolist() == expected
    assert captured.graphs == 1


def test_refusals() -> None:
    with pytest.raises(UsageError, match="topk: k: expected at most 3"):
        gpunn.ones(2, 3).topk(4)
    with pytest.raises(UsageError, match="sort: descending"):
        gpunn.sort(gpunn.ones(3), 0, "down")
