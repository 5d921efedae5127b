"""Indexing against PyTorch: any key, values and gradients, assignment, gather and relatives, and what they refuse."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import DeviceError, DTypeError, GraphError, RangeError, ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes
from tests.ops.index_keys import BOUND, cases


@pytest.mark.parametrize("where", EVERYWHERE)
@given(cases())
@settings(max_examples=500, deadline=None)
def test_matches_torch(where: str, case: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    x, ours, theirs = case
    ours = tuple(k.to(where) if isinstance(k, gpunn.Tensor) else k for k in ours)
    parity.compare(lambda x: x[ours], lambda x: x[theirs], {"x": x}, where, BOUND[x.dtype], (), 1)


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_several_arrays_match_torch(where: str, data: st.DataObject) -> None:
    """Arrays next to each other and apart, with numbers, slices and new axes between them."""
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=3, lengths=st.integers(2, 4)))))
    rng = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 99))))
    ours: list[Any] = []
    for n in x.shape:
        kind = data.draw(st.sampled_from(["array", "array", "row", "slice", "none", "int"]))
        if kind == "none":
            ours.append(None)
        lengths = (3,) if kind == "row" else (2, 3)
        ours.append({"slice": slice(None), "int": 1}.get(kind, rng.integers(-n, n, lengths)))
    theirs = tuple(parity.torch.tensor(v) if isinstance(v, np.ndarray) else v for v in ours)
    parity.compare(lambda x: x[tuple(ours)], lambda x: x[theirs], {"x": x}, where, BOUND[x.dtype], (), 1)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_narrow_and_select_match_torch(data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=1, lengths=st.integers(1, 4)))))
    at = axis(data.draw, x.ndim)
    start = data.draw(st.integers(0, x.shape[at] - 1))
    length = data.draw(st.integers(0, x.shape[at] - start))
    parity.compare(lambda x: x.narrow(at, start, length), lambda x: x.narrow(at, start, length), {"x": x}, "cpu", 0)
    parity.compare(lambda x: x.select(at, start), lambda x: x.select(at, start), {"x": x}, "cpu", 0)


# -- particular keys ------------------------------------------------------------------------------


def test_numbers_come_before_arrays_as_in_torch() -> None:
    """NumPy would move the axis of the array to the front here."""
    x = np.arange(24).reshape(2, 3, 4)
    assert gpunn.tensor(x)[0, :, [1, 2]].tolist() == x[0][:, [1, 2]].tolist()
    assert gpunn.tensor(x)[[0, 1], :, [1, 2]].tolist() == x[[0, 1], :, [1, 2]].tolist()


def test_bools_as_keys() -> None:
    torch = pytest.importorskip("torch")
    x = np.arange(6).reshape(2, 3)
    for key in (True, False, (True, 1), (slice(None), False)):
        expected = torch.tensor(x)[key].numpy()
        np.testing.assert_array_equal(gpunn.tensor(x)[key].numpy(), expected)
        assert gpunn.tensor(x)[key].shape == expected.shape


def test_numbers_can_be_indexed_by_nothing() -> None:
    x = gpunn.tensor(3.0, requires_grad=True)
    (x[...] * x[()] * x[None][0]).backward()
    assert x.grad.item() == 27.0
    assert x.detach()[True].tolist() == [3.0]


def test_slices_are_views_and_picked_elements_copies() -> None:
    x = gpunn.zeros(4)
    x[1:3].fill_(1)
    x[[0, 3]].fill_(2)
    assert x.tolist() == [0, 1, 1, 0]


def test_slices_of_images_are_contiguous_in_memory_order() -> None:
    x: Any = gpunn.randn(2, 6, 4, 4, requires_grad=True)
    for y in (x[:, :3], x[:, :, ::2, ::2], x[[1, 0, 1]], x[:, [5, 0]]):
        assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
        x.grad = None
        y.sum().backward()
        assert x.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_many_repeats_are_added_exactly_and_in_a_fixed_order() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    index, dy = rng.integers(0, 7, 5000), rng.standard_normal((5000, 3)).astype(np.float32)
    found = []
    for _ in range(2):
        x = gpunn.zeros(9, 3, requires_grad=True)
        x[index].backward(gpunn.tensor(dy))
        found.append(x.grad.numpy())
    expected = np.zeros((9, 3))
    np.add.at(expected, index, dy)
    # Pairwise: 10 levels of roundings of sums of order 30, of 6e-8 each.
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=2e-5)
    assert found[0].tobytes() == found[1].tobytes()
    # Whole numbers below 2^24 have no roundings at all.
    x = gpunn.zeros(9, 3, requires_grad=True)
    whole = rng.integers(-9, 9, (5000, 3)).astype(np.float32)
    x[index].backward(gpunn.tensor(whole))
    expected[...] = 0
    np.add.at(expected, index, whole)
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_nan_stays_with_its_own_element() -> None:
    x = gpunn.zeros(3, requires_grad=True)
    x[[2, 0, 2, 1, 0]].backward(gpunn.tensor([np.nan, 1.0, 2.0, np.inf, 3.0]))
    np.testing.assert_array_equal(x.grad.numpy(), np.array([4.0, np.inf, np.nan], np.float32))


def test_an_index_that_changes_is_noticed() -> None:
    x, index = gpunn.ones(3, requires_grad=True), gpunn.tensor([0, 2])
    for y in (x[index], x.index_select(0, index), x.gather(0, index)):
        index[0] = 1
        with pytest.raises(GraphError, match="changed in place"):
            y.sum().backward()


def test_with_kernels(kernels: str) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(0)).standard_normal((3, 4, 2, 5)).astype(np.float32)
    for key in ((slice(None), [0, 2, 0]), (1, ..., [[0, 1], [4, 4]]), (slice(None), slice(1, None, 2))):
        parity.compare(lambda x, k=key: x[k], lambda x, k=key: x[k], {"x": x}, kernels, 1e-6)
    t = gpunn.tensor(x, device=kernels)
    t[t > 0] = 0
    np.testing.assert_array_equal(t.numpy(), np.minimum(x, 0))


@pytest.mark.parametrize(
    "key",
    [(slice(None), [0, 2, 0]), (1, ..., [[0, 1], [4, 4]]), (..., slice(1, None, 2)), ([0, 0], slice(None), [1, 1])],
)
def test_gradcheck(key: tuple) -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).random((2, 3, 2, 5)), requires_grad=True)
    assert gradcheck(lambda x: x[key] ** 2, x)


def _leaf() -> None:
    gpunn.ones(3, requires_grad=True)[0] = 1.0


def _too_long() -> None:
    gpunn.zeros(2, 3)[0] = gpunn.zeros(2)


def _too_long_for_arrays() -> None:
    gpunn.zeros(2, 3)[:, [0, 1]] = gpunn.zeros(3, 2)


X = gpunn.zeros(2, 3)

I64 = gpunn.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: X[2], RangeError, "index: index 2 is out of range for axis 0, which has length 2"),
        (lambda: X[:, -4], RangeError, "index -4 is out of range for axis 1, which has length 3"),
        (lambda: X[[0, 2]], RangeError, "index 2 is out of range for axis 0"),
        (lambda: X[:, gpunn.tensor([0, -4])], RangeError, "index -4 is out of range for axis 1"),
        (lambda: gpunn.zeros(0)[[0]], RangeError, "index 0 is out of range for axis 0, which has length 0"),
        (lambda: X[0, 0, 0], RangeError, r"too many indices: 3 for a tensor of shape \(2, 3\)"),
        (lambda: X[::-1], UsageError, r"a positive step; got -1. Use flip\(\)"),
        (lambda: X[..., ...], UsageError, "at most one ellipsis"),
        (lambda: X[1.0], DTypeError, "got float"),
        (lambda: X["a"], DTypeError, "got str"),
        (lambda: X[0.5:], DTypeError, "integers in a slice; got float"),
        (lambda: X[gpunn.zeros(2)], DTypeError, "got float32. Convert it to int64"),
        (lambda: X[np.zeros(2, np.uint8)], DTypeError, "got uint8. Convert it to bool for a mask or to int64"),
        (lambda: X[[True, False, True]], ShapeError, r"a mask of shape \(2,\).*got \(3,\)"),
        (lambda: X[[0, 1], [0, 1, 2]], ShapeError, r"\(2,\) and \(3,\) do not broadcast"),
        (_leaf, UsageError, "setitem: this tensor is a leaf"),
        (_too_long, ShapeError, r"a value that broadcasts to \(3,\); got shape \(2,\)"),
        (_too_long_for_arrays, ShapeError, r"broadcasts to \(2, 2\); got shape \(3, 2\)"),
        (lambda: X.narrow(1, 1, 3), RangeError, "3 elements from 1 on do not lie in axis 1, which has length 3"),
        (lambda: X.narrow(1, 1, -1), RangeError, "narrow"),
        (lambda: X.sum().narrow(0, 0, 1), UsageError, "a number has none"),
        (lambda: X.select(0, 2), RangeError, "index 2"),
        (lambda: X.sum().select(0, 0), UsageError, "a number has none"),
        (
            lambda: X.index_select(0, gpunn.tensor([-1])),
            RangeError,
            "index_select: index -1 is out of range for axis 0",
        ),
        (lambda: X.index_select(0, gpunn.tensor([[0]])), ShapeError, r"shape \(K,\); got \(1, 1\)"),
        (lambda: X.index_select(0, cast(Any, [0])), DTypeError, "a Tensor of integers; got list"),
        (lambda: X.gather(0, I64), ShapeError, r"index with 2 axes.*got \(2,\)"),
        (lambda: X.gather(1, gpunn.tensor([[0]] * 3)), ShapeError, "no longer than x"),
        (lambda: X.gather(1, gpunn.tensor([[3]])), RangeError, "gather: index 3 is out of range for axis 1"),
        (lambda: X.gather(1, X), DTypeError, "got float32"),
        (lambda: X.take_along_dim(I64, 0), ShapeError, "equally many axes"),
        (lambda: X.take_along_dim(gpunn.tensor([[0, 0]]), 0), ShapeError, "do not broadcast"),
        (lambda: X.masked_select(X), DTypeError, "a Tensor of bools; got float32"),
        (lambda: X.masked_select(I64 > 0), ShapeError, "do not broadcast"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


def test_refuses_an_index_of_another_device(kernels: str) -> None:
    with pytest.raises(DeviceError, match="index"):
        X[gpunn.tensor([0], device=kernels)]
