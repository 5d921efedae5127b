"""split, chunk, unbind and iteration against PyTorch, one node for all parts, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError, UsageError
from gpunn.primitive import count_bodies
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes


def _used(parts: tuple, used: list[bool]) -> Any:
    """The sum of some parts' products with their numbers."""
    total = sum((p * (i + 2)).sum() for i, (p, u) in enumerate(zip(parts, used, strict=False)) if u)
    return total if used[0] else total + 0 * parts[0].sum()


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_matches_torch(where: str, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    x = data.draw(arrays(data.draw(shapes(least=1))))
    at = axis(data.draw, x.ndim)
    name = data.draw(st.sampled_from(["split", "chunk", "unbind", "sections"]))
    if name == "sections":
        cuts = sorted(data.draw(st.lists(st.integers(0, x.shape[at]), max_size=3)))
        args: tuple = ([int(n) for n in np.diff([0, *cuts, x.shape[at]])],)
        name = "split"
    else:
        args = () if name == "unbind" else (data.draw(st.integers(1, 4)),)
    mine, other = gpunn.tensor(x, device=where, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = getattr(gpunn, name)(mine, *args, dim=at), getattr(torch, name)(other, *args, dim=at)
    assert isinstance(ours, tuple)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        assert tuple(b.shape) == a.shape
    if ours:
        used = [data.draw(st.booleans()) for _ in ours]
        _used(ours, used).backward()
        _used(theirs, used).backward()
        np.testing.assert_array_equal(mine.grad.numpy(), other.grad.numpy())


def test_one_node_collects_all_gradients() -> None:
    x = gpunn.ones(4, 3, requires_grad=True)
    parts = x.split(1)
    total = parts[1].sum() + parts[3].sum()
    with count_bodies() as counts:
        total.backward()
    assert x.grad.tolist() == [[0.0] * 3, [1.0] * 3, [0.0] * 3, [1.0] * 3]
    assert counts["put_parts", "plain"] == 1


def test_parts_are_views() -> None:
    x = gpunn.zeros(2, 2)
    x.split(1)[0].fill_(1)
    x.split(1, 1)[1].fill_(2)
    assert x.tolist() == [[1, 2], [0, 2]]


def test_iteration_and_unpacking() -> None:
    x = gpunn.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert [row.tolist() for row in x.detach()] == [[1.0, 2.0], [3.0, 4.0]]
    assert len(x) == 2
    assert list(gpunn.zeros(0, 3)) == []
    with pytest.raises(UsageError, match="iteration over a 0-d tensor"):
        list(gpunn.tensor(1.0))
    with pytest.raises(UsageError, match="0-d"):
        len(gpunn.tensor(1.0))


def test_integers_and_no_grad() -> None:
    assert [p.tolist() for p in gpunn.arange(3).split([1, 2])] == [[0], [1, 2]]
    with gpunn.no_grad():
        assert not gpunn.ones(2, requires_grad=True).split(1)[0].requires_grad


def test_gradcheck() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).random((2, 5, 1, 2)), requires_grad=True)

    def product(x: gpunn.Tensor) -> gpunn.Tensor:
        a, b, c = x.split(2, 1)
        return a * b * c

    assert gradcheck(product, x)
    assert gradcheck(lambda x: x.unbind(3)[0] * x.chunk(2, 3)[1].squeeze(3), x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.split(0), ShapeError, "parts of at least 1; got 0"),
        (lambda x: x.split([1, 2], 1), ShapeError, r"add up to 4, axis 1 of \(2, 4\); got \[1, 2\]"),
        (lambda x: x.split([5, -1], 1), ShapeError, "add up to 4"),
        (lambda x: x.chunk(0), UsageError, "at least 1; got 0"),
        (lambda x: x.unbind(2), UsageError, "unbind: dim: expected axes"),
        (lambda x: x.sum().split(1), UsageError, "with axes; got a number"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(gpunn.zeros(2, 4))
