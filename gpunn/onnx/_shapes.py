"""Other shapes, other orders, parts and joins in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.onnx._graph import Constant, Graph, Length, Size, Value
from gpunn.onnx._table import Arguments, axes_of, cast, lowers, operand, reshaped
from gpunn.ops.cat import cat, stack
from gpunn.ops.copy_from import copy_from
from gpunn.ops.expand import broadcast_to, expand, repeat
from gpunn.ops.flip import flip
from gpunn.ops.gather import gather, take_along_dim
from gpunn.ops.getitem import getitem, index_select, narrow, select
from gpunn.ops.pad import pad
from gpunn.ops.permute import matrix_transpose, movedim, permute, t, transpose
from gpunn.ops.reshape import contiguous, flatten, ravel, reshape, squeeze, unflatten, unsqueeze, view
from gpunn.ops.setitem import setitem
from gpunn.ops.split import chunk, split, unbind
from gpunn.ops.tril import tril, triu

_END = np.iinfo(np.int64).max

# -- shapes -------------------------------------------------------------------------------------------


@lowers(reshape, view, flatten, ravel, unflatten, squeeze, unsqueeze)
def _reshape(g: Graph, a: Arguments) -> str:
    return reshaped(g, a.x.name, a.x.shape, a.shape)


@lowers(contiguous)
def _contiguous(g: Graph, a: Arguments) -> str:
    return a.x.name


@lowers(expand, broadcast_to)
def _expand(g: Graph, a: Arguments) -> str:
    return a.x.name if a.x.shape == a.shape else g.node("Expand", [a.x.name, g.lengths(a.shape)])


@lowers(copy_from, name="copy_")
def _copy(g: Graph, a: Arguments) -> str:
    value = operand(g, a.source, a.dtype)
    same = isinstance(a.source, Value) and a.source.shape == a.shape
    return value if same else g.node("Expand", [value, g.lengths(a.shape)])


@lowers(repeat)
def _repeat(g: Graph, a: Arguments) -> str:
    new = len(a.repeats) - a.x.ndim
    x = reshaped(g, a.x.name, a.x.shape, ((1,) * new + a.x.shape)) if new else a.x.name
    return g.node("Tile", [x, g.lengths(a.repeats)])


# -- orders -------------------------------------------------------------------------------------------


def _turned(g: Graph, x: Value, order: Sequence[int]) -> str:
    return x.name if list(order) == list(range(x.ndim)) else g.node("Transpose", [x.name], perm=list(order))


@lowers(permute)
def _permute(g: Graph, a: Arguments) -> str:
    return _turned(g, a.x, axes_of(a.dims, a.x.ndim, empty_means_all=False))


@lowers(transpose)
def _transpose(g: Graph, a: Arguments) -> str:
    order = list(range(a.x.ndim))
    if order:
        i, j = a.dim0 % a.x.ndim, a.dim1 % a.x.ndim
        order[i], order[j] = order[j], order[i]
    return _turned(g, a.x, order)


@lowers(t, matrix_transpose)
def _matrix_transpose(g: Graph, a: Arguments) -> str:
    order = list(range(a.x.ndim))
    order[-2:] = reversed(order[-2:])
    return _turned(g, a.x, order)


@lowers(movedim)
def _movedim(g: Graph, a: Arguments) -> str:
    sources, targets = axes_of(a.source, a.x.ndim), axes_of(a.destination, a.x.ndim)
    order = [axis for axis in range(a.x.ndim) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _turned(g, a.x, order)


@lowers(flip)
def _flip(g: Graph, a: Arguments) -> str:
    axes = axes_of(a.dims, a.x.ndim, empty_means_all=False)
    if not axes:
        return a.x.name
    count = len(axes)
    bounds = (-1,) * count, (-_END,) * count, axes, (-1,) * count
    return g.node("Slice", [a.x.name, *(g.numbers(*numbers) for numbers in bounds)])


# -- joins ----------------------------------------------------------------------------------------------


@lowers(cat)
def _cat(g: Graph, a: Arguments) -> str:
    # An empty vector joins with anything, as in PyTorch.
    parts = [v for v in a.tensors if v.shape != (0,) or len(a.shape) == 1]
    names = [cast(g, v, a.dtype) for v in parts]
    return names[0] if len(names) == 1 else g.node("Concat", names, axis=int(a.dim) % len(a.shape))


@lowers(stack)
def _stack(g: Graph, a: Arguments) -> str:
    axis = int(a.dim) % len(a.shape)
    names = [g.node("Unsqueeze", [cast(g, v, a.dtype), g.numbers(axis)]) for v in a.tensors]
    return names[0] if len(names) == 1 else g.node("Concat", names, axis=axis)


@lowers(pad)
def _pad(g: Graph, a: Arguments) -> str:
    amounts = [int(n) for n in g.fixed(a.pad, "the border")]
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    axes = list(range(a.x.ndim - len(pairs), a.x.ndim))
    if a.mode == "circular":
        return _circular(g, a.x, dict(zip(axes, pairs, strict=True)))
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[a.mode]
    y, cropped = a.x.name, {axis: p for axis, p in zip(axes, pairs, strict=True) if min(p) < 0}
    border = [max(before, 0) for before, _ in pairs] + [max(after, 0) for _, after in pairs]
    if any(border):
        value = [operand(g, a.value or 0, a.dtype)] if mode == "constant" else [""]
        y = g.node("Pad", [y, g.numbers(*border), *value, g.numbers(*axes)], mode=mode)
    return _cut(g, y, cropped) if cropped else y  # after the border, which is what gpunn's copies from too


def _cut(g: Graph, x: str, sides: dict[int, tuple[int, int]]) -> str:
    starts = [max(-before, 0) for before, _ in sides.values()]
    ends = [min(after, 0) or _END for _, after in sides.values()]
    return g.node("Slice", [x, g.numbers(*starts), g.numbers(*ends), g.numbers(*sides)])


def _circular(g: Graph, x: Value, sides: dict[int, tuple[int, int]]) -> str:
    cropped = {axis: p for axis, p in sides.items() if min(p) < 0}
    y = _cut(g, x.name, cropped) if cropped else x.name
    for axis, (before, after) in sides.items():
        parts = [y]
        if before > 0:
            parts.insert(0, g.node("Slice", [y, g.numbers(-before), g.numbers(_END), g.numbers(axis)]))
        if after > 0:
            parts.append(g.node("Slice", [y, g.numbers(0), g.numbers(after), g.numbers(axis)]))
        y = parts[0] if len(parts) == 1 else g.node("Concat", parts, axis=axis)
    return y


# -- parts ------------------------------------------------------------------------------------------------


@lowers(split, chunk)
def _split(g: Graph, a: Arguments) -> Sequence[str]:
    axis = int(a.dim) % a.x.ndim
    lengths = [result.shape[axis] for result in a.results]
    if len(lengths) == 1:
        return [a.x.name]
    return g.node("Split", [a.x.name, g.lengths(lengths)], len(lengths), axis=axis)


@lowers(unbind)
def _unbind(g: Graph, a: Arguments) -> Sequence[str]:
    axis = int(a.dim) % a.x.ndim
    g.fixed(a.x.shape[axis], "the axis that is taken apart")
    return [g.node("Gather", [a.x.name, g.constant(np.asarray(i))], axis=axis) for i in range(len(a.results))]


@lowers(select)
def _select(g: Graph, a: Arguments) -> str:
    return _chosen(g, a.x, int(a.dim) % a.x.ndim, a.index)


def _chosen(g: Graph, x: Value, axis: int, index: Any) -> str:
    """One place along an axis, which is then gone."""
    if isinstance(index, Size):
        raise g.refuse(f"an index follows a dynamic axis ({index.text}): expected a fixed one; -1 is the last.")
    return g.node("Gather", [x.name, g.constant(np.asarray(int(index), np.int64))], axis=axis)


@lowers(narrow)
def _narrow(g: Graph, a: Arguments) -> str:
    axis = int(a.dim) % a.x.ndim
    n = a.x.shape[axis]
    start = a.start
    if isinstance(start, int) and start < 0:
        start = start + g.fixed(n, "the axis")
    ends = _sum(g, start, a.length)
    return g.node("Slice", [a.x.name, g.lengths([start]), ends, g.numbers(axis)])


def _sum(g: Graph, start: Length, length: Length) -> str:
    if isinstance(start, int) and isinstance(length, int):
        return g.numbers(start + length)
    if start == 0:
        return g.lengths([length])
    return g.node("Add", [g.lengths([start]), g.lengths([length])])


@lowers(index_select)
def _index_select(g: Graph, a: Arguments) -> str:
    index = a.index if a.index.ndim else Value(g.node("Reshape", [a.index.name, g.numbers(1)]), (1,), a.index.dtype)
    return g.node("Gather", [a.x.name, cast(g, index, np.dtype(np.int64))], axis=int(a.dim) % max(a.x.ndim, 1))


@lowers(gather)
def _gather(g: Graph, a: Arguments) -> str:
    axis = int(a.dim) % max(a.x.ndim, 1)
    return g.node("GatherElements", [a.x.name, cast(g, a.index, np.dtype(np.int64))], axis=axis)


@lowers(take_along_dim)
def _take_along_dim(g: Graph, a: Arguments) -> str:
    index = cast(g, a.indices, np.dtype(np.int64))
    if a.dim is None:
        flat = [g.node("Reshape", [name, g.numbers(-1)]) for name in (a.x.name, index)]
        return g.node("GatherElements", flat, axis=0)
    axis = int(a.dim) % a.x.ndim
    wide = list(a.shape)
    wide[axis] = a.x.shape[axis]
    x = a.x.name if tuple(wide) == a.x.shape else g.node("Expand", [a.x.name, g.lengths(wide)])
    index = index if a.indices.shape == a.shape else g.node("Expand", [index, g.lengths(a.shape)])
    return g.node("GatherElements", [x, index], axis=axis)


@lowers(tril)
def _tril(g: Graph, a: Arguments) -> str:
    return _triangle(g, a, 0)


@lowers(triu)
def _triu(g: Graph, a: Arguments) -> str:
    return _triangle(g, a, 1)


def _triangle(g: Graph, a: Arguments, upper: int) -> str:
    return g.node("Trilu", [a.x.name, g.constant(np.asarray(int(a.diagonal)))], upper=upper)


# -- keys -------------------------------------------------------------------------------------------------


@lowers(getitem)
def _getitem(g: Graph, a: Arguments) -> str:
    items = list(a.key) if isinstance(a.key, tuple) else [a.key]
    used = sum(_axes_used(item) for item in items)
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    starts: list[Length] = []
    ends: list[Length] = []
    axes: list[int] = []
    steps: list[int] = []
    gone: list[tuple[int, Any]] = []  # the places along axes that are then gone
    new: list[int] = []  # the result's axes of length 1
    arrays: list[tuple[int, Any]] = []  # the axes after that which are indexed by arrays
    axis = out = 0
    for item in items:
        if item is Ellipsis:
            axis, out = axis + a.x.ndim - used, out + a.x.ndim - used
        elif item is None:
            new.append(out)
            out += 1
        elif isinstance(item, slice):
            if item != slice(None):
                starts.append(_bound(g, item.start, 0))
                ends.append(_bound(g, item.stop, _END))
                steps.append(int(g.fixed(item.step if item.step is not None else 1, "a step")))
                axes.append(axis)
            axis, out = axis + 1, out + 1
        elif isinstance(item, int | np.integer | Size) and not isinstance(item, bool):
            gone.append((axis, item))
            axis += 1
        else:
            arrays.append((out, item))
            axis, out = axis + 1, out + 1
    y, ndim = a.x, a.x.ndim
    if axes:
        bounds = [g.lengths(starts), g.lengths(ends), g.numbers(*axes), g.numbers(*steps)]
        y = Value(g.node("Slice", [y.name, *bounds]), y.shape, y.dtype)
    for place, index in reversed(gone):
        y = Value(_chosen(g, y, place, index), (), y.dtype)
        ndim -= 1
    if new:
        y = Value(g.node("Unsqueeze", [y.name, g.numbers(*new)]), (), y.dtype)
        ndim += len(new)
    return _picked(g, y.name, ndim, arrays) if arrays else y.name


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if isinstance(item, Value) and item.dtype.kind == "b":
        return item.ndim
    return item.ndim if isinstance(item, np.ndarray) and item.dtype.kind == "b" else 1


def _bound(g: Graph, bound: Any, default: int) -> Length:
    if bound is None:
        return default
    if isinstance(bound, Value):
        return int(_index_values(g, bound).item())
    return bound if isinstance(bound, Size) else int(bound)


def _index_values(g: Graph, index: Value) -> np.ndarray:
    if not isinstance(index, Constant) or index.values is None:
        raise g.refuse("an index or mask is computed from the inputs: expected one index array, or fixed ones.")
    return index.values


def _picked(g: Graph, x: str, ndim: int, arrays: list[tuple[int, Any]]) -> str:
    """Elements at index arrays: one along one axis, or several fixed ones together."""
    if len(arrays) == 1:
        axis, index = arrays[0]
        if isinstance(index, Value) and index.dtype.kind != "b":
            return g.node("Gather", [x, cast(g, index, np.dtype(np.int64))], axis=axis)
    places: list[int] = []
    found: list[np.ndarray] = []
    for axis, index in arrays:
        values = _index_values(g, index) if isinstance(index, Value) else np.asarray(index)
        if isinstance(index, bool) or values.dtype == np.bool_:
            if values.ndim != 1:
                raise g.refuse("a mask over several axes: expected index arrays, or where().")
            values = np.nonzero(values)[0]
        found.append(values.astype(np.int64))
        places.append(axis)
    if len(found) == 1:
        return g.node("Gather", [x, g.constant(found[0])], axis=places[0])
    common = np.stack(np.broadcast_arrays(*found), axis=-1)
    rest = [axis for axis in range(ndim) if axis not in places]
    turned = g.node("Transpose", [x], perm=[*places, *rest])
    y = g.node("GatherND", [turned, g.constant(common)])
    wide = common.ndim - 1
    at = places[0] if places == list(range(places[0], places[0] + len(places))) else 0
    order = [*range(wide, wide + at), *range(wide), *range(wide + at, wide + len(rest))]
    return y if order == sorted(order) else g.node("Transpose", [y], perm=order)


@lowers(setitem)
def _setitem(g: Graph, a: Arguments) -> str:
    """x with a part replaced: the part's places within a row are fixed, so they are numbers in the graph.

    Where the batch is dynamic, x is taken as rows, and all of them are written to in the same places.
    """
    key = a.key if isinstance(a.key, tuple) else (a.key,)
    rows: list[Length] = []
    if a.x.shape and isinstance(a.x.shape[0], Size):
        arrays = sum(isinstance(item, Value | np.ndarray | list) for item in key)
        if not (isinstance(key[0], slice) and key[0] == slice(None)) or arrays > 1:
            raise g.refuse(f"assignment to some rows of a tensor whose first axis is dynamic ({a.x.shape[0].text}).")
        rows, key = [a.x.shape[0]], key[1:]
    shape = g.fixed(a.x.shape[len(rows) :], "the shape of a tensor that is assigned to")
    whole = np.arange(int(np.prod(shape))).reshape(shape)
    places = np.ascontiguousarray(whole[_fixed_key(g, key)])
    value = g.node("Expand", [operand(g, a.value, a.dtype), g.lengths((*rows, *places.shape))])
    lead = [0] * len(rows)  # the length as it is
    flat, given = (g.node("Reshape", [name, g.numbers(*lead, -1)]) for name in (a.x.name, value))
    index = g.constant(places.reshape((1,) * len(rows) + (-1,)))
    if rows:
        index = g.node("Expand", [index, g.lengths((*rows, places.size))])
    written = g.node("ScatterElements", [flat, index, given], axis=len(rows))
    return g.node("Reshape", [written, g.numbers(*lead, *shape)])


def _fixed_key(g: Graph, key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_fixed_key(g, item) for item in key)
    if isinstance(key, Value):
        return _index_values(g, key)
    return g.fixed(key, "an index")
