"""reshape, flatten, unflatten, squeeze, unsqueeze against PyTorch; when memory is shared; what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import GraphError, ShapeError, UsageError
from gpunn.ops.permute import reordered
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, shapes


@st.composite
def changes(draw: st.DrawFn) -> tuple:
    shape = draw(shapes())
    x = draw(arrays(shape))
    name = draw(st.sampled_from(["reshape", "flatten", "squeeze", "unsqueeze", "squeeze_all", "ravel", "unflatten"]))
    ndim = max(len(shape), 1)
    if name == "reshape":
        new = draw(st.permutations(shape))
        if shape and x.size and draw(st.booleans()):
            new = [*new[:-2], -1]
        if draw(st.booleans()):
            new = [*new, 1]
        return x, name, (tuple(new),)
    if name == "flatten":
        first, last = sorted(draw(st.tuples(*[st.integers(0, ndim - 1)] * 2)))
        return x, name, (first, last - draw(st.sampled_from([0, ndim])))
    if name == "unflatten" and shape:
        at = draw(st.integers(-ndim, ndim - 1))
        return x, name, (at, (shape[at], 1) if shape[at] != 4 else (2, -1))
    if name == "squeeze":
        return x, name, (draw(st.integers(-ndim, ndim - 1)),)
    if name == "unsqueeze":
        return x, name, (draw(st.integers(-len(shape) - 1, len(shape))),)
    return x, "squeeze" if name == "squeeze_all" else "ravel", ()


@pytest.mark.parametrize("where", EVERYWHERE)
@given(changes())
@settings(max_examples=200, deadline=None)
def test_matches_torch(where: str, change: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    x, name, args = change
    parity.compare(
        lambda x: getattr(gpunn, name)(x, *args), lambda x: getattr(parity.torch, name)(x, *args), {"x": x}, where, 0
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_images_of_any_dtype_with_kernels(kernels: str, dtype: Any) -> None:
    x = (np.arange(120).reshape(2, 3, 4, 5) % 7).astype(dtype)
    t = gpunn.tensor(x, device=kernels)
    np.testing.assert_array_equal(t.reshape(5, 4, 3, 2).numpy(), x.reshape(5, 4, 3, 2))
    np.testing.assert_array_equal(t.permute(3, 1, 2, 0).numpy(), x.transpose(3, 1, 2, 0))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_reordered_is_a_contiguous_transpose(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    axes = tuple(data.draw(st.permutations(range(len(shape)))))
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape) * data.draw(st.sampled_from([1, 1.0]))
    y = reordered(gpunn.device("cpu"), x, axes)
    np.testing.assert_array_equal(y, x.transpose(axes))
    assert y.flags.c_contiguous


def test_method_forms() -> None:
    x = gpunn.arange(6)
    for y in (x.view(2, 3), x.view((2, -1)), x.reshape([2, 3]), x.view(-1, 3), x.reshape_as(gpunn.zeros(2, 3))):
        assert y.shape == (2, 3)
    assert x.view_as(gpunn.zeros(3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.reshape(-1).contiguous().is_contiguous()
    assert gpunn.zeros(2, 1, 3, 1).squeeze((1, 2)).shape == (2, 3, 1)
    assert gpunn.zeros(2, 1).squeeze(()).shape == (2, 1)
    assert gpunn.zeros(2, 0, 3).ravel().shape == (0,)


def test_a_shared_memory_is_seen_by_the_tape() -> None:
    """Writing to a tensor whose reshape was saved for backward must not go unnoticed."""
    w = gpunn.ones(4, requires_grad=True)
    y = (w.reshape(2, 2) * gpunn.ones(2, 2, requires_grad=True)).sum()
    with gpunn.no_grad():
        w.fill_(5)
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_gradients_of_a_copy_and_of_a_view_are_not_shared() -> None:
    x = gpunn.ones(2, 3, 4, 5, requires_grad=True)
    v: Any = gpunn.ones(6, requires_grad=True)
    (x.reshape(-1).sum() + v.reshape(2, 3).sum()).backward()
    dy = gpunn.ones(2, 3)
    v.grad = None
    v.reshape(2, 3).backward(dy)
    v.grad.array[...] = 9
    assert dy.tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.reshape(4, 2), ShapeError, r"cannot make shape \(4, 2\) of \(2, 3\) with 6"),
        (lambda x: x.reshape(-1, -1), ShapeError, "cannot make shape"),
        (lambda x: x.reshape(-2, -3), ShapeError, "cannot make shape"),
        (lambda x: x.flatten(1, 0), UsageError, "axes 1 to 0 do not exist"),
        (lambda x: x.flatten(0, 2), UsageError, "axes 0 to 2 do not exist"),
        (lambda x: x.unflatten(1, (2, 2)), ShapeError, r"cannot split axis 1 of \(2, 3\), of length 3"),
        (lambda x: x.sum().unflatten(0, (1,)), ShapeError, "a number has none"),
        (lambda x: x.unsqueeze(3), UsageError, "expected -3 to 2 .* got 3"),
        (lambda x: x.squeeze(2), UsageError, "squeeze: dim: expected axes"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(gpunn.zeros(2, 3))
