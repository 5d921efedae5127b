"""Lists, tuples, dicts and named tuples inside one another: their leaves in order, and the same shape around others.

The names are those of ``torch.utils._pytree``, which programs use in spite of the underscore.

>>> leaves, spec = tree_flatten({"a": (1, 2), "b": [3]})
>>> leaves
[1, 2, 3]
>>> tree_unflatten([10, 20, 30], spec)
{'a': (10, 20), 'b': [30]}
>>> tree_map(lambda number: -number, [1, (2, 3)])
[-1, (-2, -3)]
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gpunn.errors import UsageError

PyTree = Any


@dataclass(frozen=True)
class TreeSpec:
    """The shape of a tree: what kind of container, what it takes beside its parts to make one, and the parts' shapes.

    Parameters
    ----------
    type : type or None
        list, tuple, dict, …; None for a leaf.
    context : object
        A dict's keys; a deque's ``maxlen``; a defaultdict's factory and its keys.
    children_specs : tuple of TreeSpec
        One for each part.
    """

    type: Any
    context: Any
    children_specs: tuple[TreeSpec, ...]

    def is_leaf(self) -> bool:
        """Whether this is no container."""
        return self.type is None

    @property
    def num_leaves(self) -> int:
        """How many leaves there are below."""
        return 1 if self.is_leaf() else sum(spec.num_leaves for spec in self.children_specs)


_LEAF = TreeSpec(None, None, ())
_DICTS = (dict, OrderedDict, defaultdict)


def _is_namedtuple(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields") and type(tree).__bases__ == (tuple,)


def _opened(tree: Any) -> tuple[list[Any], Any] | None:
    """The parts of a container, and its context; None for a leaf. Subclasses are leaves, as in PyTorch."""
    kind = type(tree)
    if kind in (list, tuple) or _is_namedtuple(tree):
        return list(tree), None
    if kind is deque:
        return list(tree), tree.maxlen
    if kind in (dict, OrderedDict):
        return list(tree.values()), list(tree)
    if kind is defaultdict:
        return list(tree.values()), (tree.default_factory, list(tree))
    return None


def _closed(spec: TreeSpec, parts: list[Any]) -> Any:
    kind, context = spec.type, spec.context
    if kind is defaultdict:
        return defaultdict(context[0], zip(context[1], parts, strict=True))
    if kind in (dict, OrderedDict):
        return kind(zip(context, parts, strict=True))
    if kind is deque:
        return deque(parts, maxlen=context)
    return kind(parts) if kind in (list, tuple) else kind(*parts)


def tree_flatten(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves in order, and the shape to put them back into.

    Parameters
    ----------
    tree : object
        Lists, tuples, named tuples, dicts, ordered and default dicts and deques; all else is a leaf, None too.
    is_leaf : callable, optional
        Called with each part: whether to take it as it is, even if it is a container.

    Returns
    -------
    list, TreeSpec
    """
    opened = None if is_leaf is not None and is_leaf(tree) else _opened(tree)
    if opened is None:
        return [tree], _LEAF
    leaves: list[Any] = []
    specs = []
    for part in opened[0]:
        below, spec = tree_flatten(part, is_leaf)
        leaves += below
        specs.append(spec)
    return leaves, TreeSpec(type(tree), opened[1], tuple(specs))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """A tree of the shape ``treespec`` with these leaves.

    Parameters
    ----------
    leaves : iterable
        As many as the shape has.
    treespec : TreeSpec
        From :func:`tree_flatten`.

    Raises
    ------
    UsageError
        If ``treespec`` is no TreeSpec, or there are more or fewer leaves.
    """
    if not isinstance(treespec, TreeSpec):
        raise UsageError(f"tree_unflatten: treespec: expected a TreeSpec; got {type(treespec).__name__}.")
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise UsageError(f"tree_unflatten: expected {treespec.num_leaves} leaves; got {len(given)}.")
    return _filled(treespec, iter(given))


def _filled(spec: TreeSpec, leaves: Any) -> Any:
    return next(leaves) if spec.is_leaf() else _closed(spec, [_filled(part, leaves) for part in spec.children_specs])


def tree_leaves(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> list[Any]:
    """The leaves in order; see :func:`tree_flatten` for ``tree`` and ``is_leaf``."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> TreeSpec:
    """The shape alone; see :func:`tree_flatten` for ``tree`` and ``is_leaf``."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any], tree: PyTree, *rests: PyTree, is_leaf: Callable[[PyTree], bool] | None = None
) -> PyTree:
    """A tree of the same shape with ``func`` of each leaf.

    Parameters
    ----------
    func : callable
        Called with a leaf of ``tree`` and what is at its place in each of the others.
    tree : object
        See :func:`tree_flatten`.
    *rests : object
        Trees that have that shape, or more at its leaves.
    is_leaf : callable, optional
        See :func:`tree_flatten`.

    Raises
    ------
    UsageError
        If one of the others has another shape.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves, *(_alike(spec, other) for other in rests)]
    return _filled(spec, iter([func(*row) for row in zip(*columns, strict=True)]))


def _alike(spec: TreeSpec, tree: Any) -> list[Any]:
    """What a tree has where ``spec`` has leaves."""
    if spec.is_leaf():
        return [tree]
    opened = _opened(tree)
    fits, parts = False, opened[0] if opened is not None else []
    if spec.type in _DICTS and type(tree) in _DICTS:  # of any of these kinds, and in any order
        keys = spec.context[1] if spec.type is defaultdict else spec.context
        fits = tree.keys() == set(keys)
        parts = [tree[key] for key in keys] if fits else []
    elif type(tree) is spec.type:
        fits = len(parts) == len(spec.children_specs)
    if not fits:
        kind = getattr(spec.type, "__name__", spec.type)
        raise UsageError(
            f"tree_map: expected trees of one shape: {kind} of {len(spec.children_specs)} parts; got "
            f"{type(tree).__name__}{'' if opened is None else f' of {len(opened[0])}'}."
        )
    return [leaf for part, below in zip(parts, spec.children_specs, strict=True) for leaf in _alike(below, part)]


def tree_map_only(
    type_or_types_or_pred: type | tuple[type, ...] | Callable[[Any], bool],
    /,
    func: Callable[[Any], Any],
    tree: PyTree,
    is_leaf: Callable[[PyTree], bool] | None = None,
) -> PyTree:
    """A tree of the same shape with ``func`` of the leaves of a type, or for which a function holds; the others stay.

    Parameters
    ----------
    type_or_types_or_pred : type, tuple of types or callable
        As ``isinstance`` takes them, or a function of a leaf.
    func : callable
        Of a leaf.
    tree : object
        See :func:`tree_flatten`.
    is_leaf : callable, optional
        See :func:`tree_flatten`.
    """
    chosen = type_or_types_or_pred
    if callable(chosen) and not isinstance(chosen, type):
        holds = chosen
    else:
        holds = lambda leaf: isinstance(leaf, chosen)  # noqa: E731 - beside the other way
    return tree_map(lambda leaf: func(leaf) if holds(leaf) else leaf, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether ``pred`` holds for all leaves; see :func:`tree_flatten` for ``tree`` and ``is_leaf``."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree, is_leaf: Callable[[PyTree], bool] | None = None) -> bool:
    """Whether ``pred`` holds for a leaf; see :func:`tree_flatten` for ``tree`` and ``is_leaf``."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
