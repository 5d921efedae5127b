"""Reading and writing elements by index arrays: the primitives behind ``t[[2, 0]]``.

Several elements of a result may be one element of the input. Their gradients are added in a fixed order,
without atomics: sorted by place, and within a place added pairwise (kernels: in chunks). The kernels' sort compares
each of n indices with each, which is quick for thousands and slow for millions (``kernels/places.cu``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical, physical_axes, physical_shape
from gpunn.gpu import gather as kernels
from gpunn.gpu.strided_copy import fill
from gpunn.ops.take_slice import Key
from gpunn.primitive import primitive

# -- index arrays ---------------------------------------------------------------------------------


def _index_cases() -> list[dict[str, Any]]:
    i, j = np.array([2, 0, 2, 1, 2]), np.array([[0, 1], [3, 0]])
    return [
        {"shape": (3, 4), "indices": [i], "axes": (0,), "at": 0},
        {"shape": (2, 3, 4, 5), "indices": [i], "axes": (1,), "at": 1},
        {"shape": (3, 2, 2, 3), "indices": [i], "axes": (0,), "at": 0},
        {"shape": (2, 3, 4, 5), "indices": [j], "axes": (2,), "at": 2},
        {"shape": (3, 4, 2), "indices": [np.array([[1], [2]]), j], "axes": (0, 1), "at": 0},
        {"shape": (3, 2, 4), "indices": [np.array([1, 2]), j], "axes": (0, 2), "at": 0},
        {"shape": (3, 2), "indices": [i[:0]], "axes": (0,), "at": 0},
        {"shape": (0, 2), "indices": [i[:0]], "axes": (0,), "at": 0},
        {"shape": (3, 8), "indices": [i], "axes": (0,), "at": 0},
        {"shape": (4, 3, 5), "indices": [j], "axes": (0,), "at": 0},
        {"shape": (2, 3, 2, 3, 2, 3, 2), "indices": [i, i, i], "axes": (1, 3, 5), "at": 0},
        # As many axes as the kernel has room for: five that no index joins, and the index.
        {"shape": (2, 3, 2, 3, 2, 3, 2, 3, 2), "indices": [i, i, i, i], "axes": (1, 3, 5, 7), "at": 0},
        {"shape": (3, 3), "indices": [i[:, None], i], "axes": (0, 1), "at": 0},
        # More indices than a block has threads.
        {"shape": (7, 11), "indices": [np.arange(300) % 7, np.arange(300) % 11], "axes": (0, 1), "at": 0},
    ]


def _take_at_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": rng.standard_normal(c.pop("shape")).astype(np.float32), **c} for c in _index_cases()]


@primitive(examples=_take_at_examples, returns=("y",))
def take_at(xp: Any, x: Any, indices: list[Any], axes: tuple[int, ...], at: int) -> Any:
    """The elements of x whose places along ``axes`` are ``indices``, which broadcast together and are not negative.

    Their common shape becomes the result's axes from ``at`` on; logical in, physical out.
    """
    images = _are_images(x.shape, indices)
    if images:  # the layout stays: no copy but the result
        x, axes = x.transpose(0, 2, 3, 1), physical_axes(axes, 4)
        return xp.ascontiguousarray(xp.take(x, indices[0], axis=axes[0]))
    others = [a for a in range(x.ndim) if a not in axes]
    moved = x.transpose(*others[:at], *axes, *others[at:])
    return physical(xp.asarray(moved[(slice(None),) * at + tuple(indices)]))


take_at.kernel(kernels.take_at)


def _are_images(shape: tuple[int, ...], indices: list[Any]) -> bool:
    """Whether one axis of images is indexed, and images come out."""
    return len(shape) == 4 and len(indices) == 1 and indices[0].ndim == 1


def _add_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for case in _index_cases():
        y = take_at.plain(np, np.zeros(case["shape"], np.float32), case["indices"], case["axes"], case["at"])
        dy = rng.standard_normal(logical(y).shape)
        made.append({"dy": dy.astype(np.float32), "unique": False, **case})
    once: dict[str, Any] = {"shape": (4,), "indices": [np.array([2, 1])], "axes": (0,), "at": 0}
    many = {"shape": (2,), "indices": [rng.integers(0, 2, 1000)], "axes": (0,), "at": 0}
    # Places that end with a chunk of 32, before it, after it, and fill several. The last: one that begins as a chunk
    # ends and fills the next, and more elements than a block has threads.
    for counts, width in (([32, 31, 33, 97, 2], 3), ([31, 31, 33, 97, 2], 3), ([32, 31, 34, 97, 2], 50)):
        runs = np.repeat([4, 0, 1, 5, 2], counts)
        ends: dict[str, Any] = {"shape": (6, width), "indices": [runs], "axes": (0,), "at": 0}
        made.append({"dy": rng.standard_normal((len(runs), width)), "unique": False, **ends})
    made += [{"dy": rng.standard_normal((2, 3)), "unique": True, **once, "shape": (4, 3)}]
    return [
        *made,
        {"dy": np.array([np.nan, np.inf]), "unique": True, **once},
        {"dy": rng.random(1000), "unique": False, **many},
    ]


@primitive(examples=_add_examples, returns=("dx",))
def add_at(
    xp: Any, dy: Any, indices: list[Any], axes: tuple[int, ...], at: int, shape: tuple[int, ...], unique: bool
) -> Any:
    """The gradient of :func:`take_at`: dx of a logical ``shape``, to each element the sum of all dy that came from it.

    ``unique`` promises that no place comes twice. Logical in, physical out.
    """
    images = _are_images(shape, indices)
    if images:
        dy, shape, axes = dy.transpose(0, 2, 3, 1), physical_shape(shape), physical_axes(axes, 4)
        at = axes[0]
    others, lengths = [a for a in range(len(shape)) if a not in axes], [shape[a] for a in axes]
    flat, common = _flat_places(xp, indices, lengths), np.broadcast_shapes(*(i.shape for i in indices))
    rest = [shape[a] for a in others]
    rows = _index_first(dy, at, len(common)).reshape(flat.size, math.prod(rest))
    if not unique:
        rows, flat = _grouped_sums(xp, rows, flat)
    sums = xp.zeros((math.prod(lengths), math.prod(rest)), dy.dtype)
    sums[flat] = rows
    order = [*axes, *others]
    dx = sums.reshape(*lengths, *rest).transpose([order.index(a) for a in range(len(shape))])
    return xp.ascontiguousarray(dx) if images else physical(dx)


@add_at.kernel
def _(
    device: Device, dy: Any, indices: list[Any], axes: tuple[int, ...], at: int, shape: tuple[int, ...], unique: bool
) -> Any:
    dx = device.empty(physical_shape(shape), dy.dtype)
    fill(device, dx)
    if unique:
        kernels.put_at(device, logical(dx), physical(dy), indices, axes, at)
    else:
        kernels.add_at(device, logical(dx), dy, indices, axes, at)
    return dx


def _index_first(y: Any, at: int, count: int) -> Any:
    """The axes that came from indices in front."""
    return y.transpose(*range(at, at + count), *range(at), *range(at + count, y.ndim))


def _flat_places(xp: Any, indices: list[Any], lengths: list[int]) -> Any:
    """One number for each tuple of places, in C order."""
    flat = indices[0]
    for index, length in zip(indices[1:], lengths[1:], strict=True):
        flat = flat * length + index
    return xp.asarray(flat).reshape(-1)


def _sorted_places(xp: Any, flat: Any) -> tuple[Any, Any]:
    """The order that sorts ``flat``, equal ones as they come, and where in it each new value starts."""
    order = xp.argsort(flat * flat.size + xp.arange(flat.size))  # no two equal: any sort gives this order
    places = flat[order]
    first = xp.ones(flat.size, bool)
    first[1:] = places[1:] != places[:-1]
    return order, first


def _grouped_sums(xp: Any, rows: Any, flat: Any) -> tuple[Any, Any]:
    """The sum of all rows of one place, and the places, each once."""
    if flat.size < 2:
        return rows, flat
    order, first = _sorted_places(xp, flat)
    starts = xp.nonzero(first)[0]
    if len(starts) == len(flat):
        return rows, flat
    rank = xp.arange(len(flat)) - starts[xp.cumsum(first.astype(np.int64)) - 1]  # its number within the place
    rows, most = rows[order], int(rank.max())
    while most:  # neighbours are added, which halves the rows of each place
        odd = xp.nonzero(rank % 2 == 1)[0]
        rows[odd - 1] += rows[odd]
        even = xp.nonzero(rank % 2 == 0)[0]
        rows, rank, most = rows[even], rank[even] // 2, most // 2
    return rows, flat[order][starts]


def _set_at_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    twice = {"indices": [np.array([2, 0, 2])], "axes": (0,), "at": 0}
    return [
        {"target": np.zeros((3, 4)), "value": np.float32(1), "key": (slice(None), slice(1, 3)), **twice},
        {"target": np.zeros(3, np.float32), "value": np.array([1, 2, 3]), "key": (slice(None),), **twice},
        {"target": np.zeros((2, 3)), "value": rng.random((2, 1)), "key": (), "indices": [np.array([0, 2])]}
        | {"axes": (1,), "at": 1},
        {"target": np.zeros((2, 3)), "value": rng.random(0), "key": (), "indices": [np.zeros(0, int)]}
        | {"axes": (1,), "at": 1},
    ]


@primitive(examples=_set_at_examples, returns=(), mutates=("target",))
def set_at(xp: Any, target: Any, value: Any, key: Key, indices: list[Any], axes: tuple[int, ...], at: int) -> None:
    """target[key] at ``indices`` along ``axes`` = value, in place, of a logical array; of several the last counts."""
    target = target[key]
    others = [a for a in range(target.ndim) if a not in axes]
    if value.ndim == 0:
        target.transpose(*others[:at], *axes, *others[at:])[(slice(None),) * at + tuple(indices)] = value
        return
    common, rest = np.broadcast_shapes(*(i.shape for i in indices)), [target.shape[a] for a in others]
    shape = (*rest[:at], *common, *rest[at:])
    while value.ndim > len(shape):
        value = value[0]
    flat = _flat_places(xp, [xp.broadcast_to(i, common) for i in indices], [target.shape[a] for a in axes])
    rows = _index_first(xp.broadcast_to(value, shape), at, len(common)).reshape(flat.size, *rest)
    order, first = _sorted_places(xp, flat)
    last = xp.ones(flat.size, bool)
    last[:-1] = first[1:]
    kept = order[last]
    target.transpose(*axes, *others)[tuple(xp.broadcast_to(i, common).reshape(-1)[kept] for i in indices)] = rows[kept]


# -- questions about indices ----------------------------------------------------------------------


def _range_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"index": np.array([[3, -1], [0, 2]])}, {"index": np.array(5)}]


@primitive(examples=_range_examples, returns=("range",))
def index_range(xp: Any, index: Any) -> Any:
    """The smallest and the largest element, in an array of two."""
    return xp.stack([index.min(), index.max()])


def _valid_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"index": np.array([3, -1, 0, -4]), "negative": True}]
    made += [{"index": rng.integers(0, 4, (2, 3, 200)).astype(np.int32), "negative": False}]
    made += [{"index": np.array(2), "negative": False}, {"index": np.zeros((0, 2), np.int64), "negative": True}]
    return [{**given, "length": 4, "place": "an example"} for given in made]


@primitive(examples=_valid_examples, returns=("index",))
def valid_index(xp: Any, index: Any, length: int, negative: bool, place: str) -> Any:
    """The index as int64, counted from the end where it is negative and may be.

    Kernels report one that is out of range as bad data of ``place`` (``Device.check``), and make it 0; elsewhere it
    has been looked at before.
    """
    return xp.where(index < 0, index + length, index).astype(np.int64)


@valid_index.kernel
def _(device: Device, index: Any, length: int, negative: bool, place: str) -> Any:
    return kernels.check_index(device, index, length, negative, place)


def _nonzero_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": rng.random((2, 3, 4, 2)) > 0.5}, {"x": np.array([0.0, np.nan, 2])}, {"x": np.zeros((0, 2), bool)}]


@primitive(examples=_nonzero_examples, returns=("places",))
def nonzero_places(xp: Any, x: Any) -> Any:
    """places (axes, K): where a logical array is not 0, in logical order, int64."""
    return xp.stack(xp.nonzero(xp.ascontiguousarray(x))).astype(np.int64, copy=False)
