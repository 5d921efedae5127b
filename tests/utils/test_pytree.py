"""Trees of containers, taken apart and put together as PyTorch does."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

import gpunn
from gpunn.errors import UsageError
from gpunn.utils import _pytree

Pair = namedtuple("Pair", "first second")


class Own(list):
    pass


TREES: list[Any] = [
    1,
    None,
    [1, (2, 3)],
    {"b": 1, "a": {"x": (2,), "y": []}},
    Pair(1, [2, None]),
    OrderedDict(z=1, a=2),
    deque([1, 2], maxlen=3),
    defaultdict(list, {"q": [1, 2]}),
    Own([1, 2]),
    (),
    range(3),
    "ab",
]
ROWS: list[tuple[Any, Any]] = [
    ([1, 2], [(1, 2), 3]),
    ({"a": 1, "b": 2}, {"b": 3, "a": 4}),
    ({"a": 1}, OrderedDict(a=2)),
    (deque([1]), deque([2], maxlen=2)),
]
UNLIKE: list[tuple[Any, Any]] = [([1, 2], [1]), ({"a": 1}, {"b": 1}), ((1,), [1]), (Pair(1, 2), (1, 2)), ([1], 1)]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_same_leaves_and_back(tree: Any) -> None:
    theirs = pytest.importorskip("torch.utils._pytree")
    leaves, spec = _pytree.tree_flatten(tree)
    expected, other = theirs.tree_flatten(tree)
    assert leaves == expected == _pytree.tree_leaves(tree)
    assert spec.num_leaves == other.num_leaves
    again = _pytree.tree_unflatten(leaves, spec)
    assert (again, type(again)) == (tree, type(tree))
    assert spec == _pytree.tree_structure(again)
    for name in ("tree_map", "tree_map_only"):
        first = (int,) if name == "tree_map_only" else ()
        one, two = (getattr(module, name)(*first, lambda leaf: (leaf, "new"), tree) for module in (_pytree, theirs))
        assert (one, type(one)) == (two, type(two))


@pytest.mark.parametrize(("tree", "other"), ROWS, ids=repr)
def test_several_trees(tree: Any, other: Any) -> None:
    theirs = pytest.importorskip("torch.utils._pytree")
    assert _pytree.tree_map(lambda *row: row, tree, other) == theirs.tree_map(lambda *row: row, tree, other)


@pytest.mark.parametrize(("tree", "other"), UNLIKE, ids=repr)
def test_refuses_another_shape(tree: Any, other: Any) -> None:
    with pytest.raises(UsageError, match="tree_map: expected trees of one shape"):
        _pytree.tree_map(lambda *row: row, tree, other)


def test_leaves_of_ones_own_choice() -> None:
    tree = [{"a": 1}, [2, 3], 4.0]
    assert _pytree.tree_leaves(tree, is_leaf=lambda part: isinstance(part, dict)) == [{"a": 1}, 2, 3, 4.0]
    assert _pytree.tree_map_only(lambda leaf: leaf == 2, lambda leaf: -leaf, tree) == [{"a": 1}, [-2, 3], 4.0]
    assert _pytree.tree_all(lambda leaf: leaf > 0, tree)
    assert not _pytree.tree_any(lambda leaf: leaf > 4, tree)
    moved = _pytree.tree_map_only(gpunn.Tensor, lambda t: t.double(), {"x": gpunn.ones(2), "n": 3})
    assert (moved["x"].dtype, moved["n"]) == (gpunn.float64, 3)


def test_refuses_what_does_not_fit() -> None:
    spec = _pytree.tree_structure([1, (2, 3)])
    with pytest.raises(UsageError, match="expected 3 leaves; got 2"):
        _pytree.tree_unflatten([1, 2], spec)
    with pytest.raises(UsageError, match="treespec: expected a TreeSpec; got list"):
        _pytree.tree_unflatten([1, 2], [1, 2])  # type: ignore[arg-type]
