"""scatter, scatter_add and index_add against PyTorch, as functions and in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from gpunn.errors import ArgumentError, DTypeError, RangeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import FEW_ROUNDINGS, axis, shapes

gpunn: Any = typed


def drawn(data: st.DataObject, once: bool) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """x, an axis, an index (each place at most once, if that is asked) and what is written, one longer everywhere."""
    shape = data.draw(shapes(least=1, most=4, lengths=st.integers(1, 4)))
    dim = axis(data.draw, len(shape))
    rng = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 999))))
    wide = [data.draw(st.integers(1, n)) for n in shape]
    if once:
        index = rng.permuted(np.indices(shape)[dim], axis=dim)[tuple(slice(n) for n in wide)]
    else:
        wide[dim] = data.draw(st.integers(1, 6))
        index = rng.integers(0, shape[dim], wide)
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    src = rng.standard_normal([n + 1 for n in wide]).astype(dtype)
    return rng.standard_normal(shape).astype(dtype), dim, index.copy(), src


def written(src: np.ndarray, index: np.ndarray) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """As it is, of which PyTorch has no gradient, and in the index's shape."""
    return [(src, ("src",)), (src[tuple(slice(n) for n in index.shape)], ())]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["scatter_add", "scatter_add_", "scatter", "scatter_"])
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_matches_torch(where: str, name: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x, dim, index, src = drawn(data, once="add" not in name)
    for source, without in written(src, index):
        parity.compare(
            lambda x, src, index: getattr(x * 1, name)(dim, index, src),
            lambda x, src, index: getattr(x * 1, name)(dim, index, src),
            {"x": x, "src": source, "index": index}, where, 4 * FEW_ROUNDINGS[x.dtype], without, 1,
        )  # fmt: skip
    if "add" not in name:
        parity.compare(
            lambda x, index: getattr(x * 1, name)(dim, index, 2.5),
            lambda x, index: getattr(x * 1, name)(dim, index, 2.5),
            {"x": x, "index": index}, where, 0,
        )  # fmt: skip


def test_an_empty_index_changes_nothing() -> None:
    x, nothing = gpunn.ones(2, 3), gpunn.zeros(2, 0, dtype="int64")
    for y in (x.scatter(1, nothing, 5.0), x.scatter_add(1, nothing, x), x.scatter(1, nothing, x)):
        assert y.tolist() == x.tolist()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4, 5)])
def test_slices_match_torch(where: str, shape: tuple[int, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    rng = np.random.Generator(np.random.Philox(4))
    source = rng.standard_normal((*shape[:-1], 7))
    given_arrays = {"x": rng.standard_normal(shape), "index": rng.integers(0, 5, 7), "source": source}
    for name in ("index_add", "index_add_"):
        parity.compare(
            lambda x, index, source, n=name: getattr(x * 1, n)(-1, index, source, alpha=-2),
            lambda x, index, source, n=name: getattr(x * 1, n)(-1, index, source, alpha=-2),
            given_arrays, where, 1e-14, least_scale=1,
        )  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
def test_integers_and_labels(where: str) -> None:
    labels = gpunn.tensor([[2], [0]], device=where)
    hot = gpunn.zeros(2, 3, dtype="int64", device=where).scatter_(1, labels, 1)
    assert (hot.tolist(), hot.dtype) == ([[0, 0, 1], [1, 0, 0]], gpunn.int64)
    counts = gpunn.zeros(3, dtype="int64", device=where)
    counts.index_add_(0, labels.reshape(-1), gpunn.tensor([5, 7], device=where))
    assert counts.tolist() == [7, 0, 5]
    assert counts.scatter(0, labels.reshape(-1), 1, reduce="add").tolist() == [8, 0, 6]
    last = gpunn.zeros(2, device=where).scatter(
        0, gpunn.tensor([1, 1], device=where), gpunn.tensor([3.0, 4.0], device=where)
    )
    assert last.tolist() == [0.0, 4.0]


def test_refusals() -> None:
    x, index = gpunn.zeros(2, 3), gpunn.tensor([[0], [1]])
    for error, text, call in (
        (RangeError, "scatter_add", lambda: x.scatter_add(1, gpunn.tensor([[3]]), x)),
        (ShapeError, "scatter_add: src: expected a shape", lambda: x.scatter_add(1, index, x[:1])),
        (ShapeError, "scatter: expected index with 2 axes", lambda: x.scatter(1, gpunn.tensor([0]), 1.0)),
        (DTypeError, "scatter: src: expected x's dtype", lambda: x.scatter(1, index, x.double())),
        (DTypeError, "scatter_add: src: expected x's dtype", lambda: x.scatter_add(1, index, x.double())),
        (ArgumentError, "scatter_add: src: expected a Tensor", lambda: x.scatter_add(1, index, 1.0)),
        (ArgumentError, "scatter: src: expected a Tensor or", lambda: x.scatter(1, index, "one")),
        (UsageError, "scatter: src: expected a Tensor or a number, once", lambda: x.scatter(1, index)),
        (UsageError, "scatter: reduce", lambda: x.scatter(1, index, 1.0, reduce="multiply")),
        (ShapeError, "index_add: expected index", lambda: x.index_add(0, gpunn.tensor([0]), x)),
    ):
        with pytest.raises(error, match=text):
            call()


def test_captured_equals_eager(kernels: str) -> None:
    leaf = gpunn.tensor(np.ones((2, 3), np.float32), device=kernels, requires_grad=True)

    def step(x: Any, index: Any) -> Any:
        leaf.grad = None
        y = x * leaf
        loss = (y.scatter_add(1, index, y).scatter(1, index, 0.5) * y).sum() + y.index_add(
            0, index[:, 0], y
        ).square().sum()
        loss.backward()
        return loss

    captured = gpunn.capture(step)
    for seed in range(3):
        rng = np.random.Generator(np.random.Philox(seed))
        x = gpunn.tensor(rng.standard_normal((2, 3)).astype(np.float32), device=kernels)
        index = gpunn.tensor(rng.integers(0, 2, (2, 2)), device=kernels)
        expected = step(x, index).item(), leaf.grad.tolist()
        assert (captured(x, index).item(), leaf.grad.tolist()) == expected


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["scatter_add", "scatter", "gather", "scatter-number"])
def test_scalars_are_taken_for_vectors_of_one(where: str, name: str) -> None:
    parity = pytest.importorskip("tests.parity")
    x, index = np.array([1.0, 2.0, 3.0, 4.0]), np.array(2)

    def call(x: Any, src: Any, index: Any) -> Any:
        if name == "gather":
            return x.gather(0, index) * src
        return x.scatter(0, index, 5.0) * src if name == "scatter-number" else getattr(x, name)(0, index, src)

    for shape in ((), (1,)):  # PyTorch's backward fails where the two differ
        src, places = np.array(0.5).reshape(shape), index.reshape(shape)
        parity.compare(call, call, {"x": x, "src": src, "index": places}, where, 1e-15)  # one sum or product
