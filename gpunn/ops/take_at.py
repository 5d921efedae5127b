"""Reading and writing elements by index arrays: the primitives behind ``t[[2, 0]]``.

Several elements of a result may come from one element of the input. Their gradients are added in a fixed order,
without atomics: sorted by position, then added pairwise within a position (kernels: in chunks). The kernels' sort
compares every pair of n indices, which is quick for thousands and slow for millions (``kernels/places.cu``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical, physical_axes, physical_shape
from gpunn.errors import BadData
from gpunn.gpu import gather as kernels
from gpunn.gpu.strided_copy import fill
from gpunn.ops.take_slice import Key
from gpunn.primitive import primitive

# -- index arrays ---------------------------------------------------------------------------------


@primitive(returns=("y",), moves=True)
def take_at(xp: Any, x: Any, indices: list[Any], axes: tuple[int, ...], at: int) -> Any:
    """The elements of x at ``indices`` along ``axes``; the indices broadcast together and are not negative.

    Their broadcast shape becomes the result's axes from ``at`` on; logical in, physical out.
    """
    images = _are_images(x.shape, indices)
    if images:  # the layout stays: the result is the only copy
        x, axes = x.transpose(0, 2, 3, 1), physical_axes(axes, 4)
        return xp.ascontiguousarray(xp.take(x, indices[0], axis=axes[0]))
    others = [a for a in range(x.ndim) if a not in axes]
    moved = x.transpose(*others[:at], *axes, *others[at:])
    return physical(xp.asarray(moved[(slice(None),) * at + tuple(indices)]))


take_at.kernel(kernels.take_at)


def _are_images(shape: tuple[int, ...], indices: list[Any]) -> bool:
    """Whether one axis of images is indexed, and the result is images too."""
    return len(shape) == 4 and len(indices) == 1 and indices[0].ndim == 1


@primitive(returns=("dx",))
def add_at(
    xp: Any, dy: Any, indices: list[Any], axes: tuple[int, ...], at: int, shape: tuple[int, ...], unique: bool
) -> Any:
    """The gradient of :func:`take_at`: dx of a logical ``shape``; each element gets the sum of all dy taken from it.

    ``unique`` promises that no position occurs twice. Logical in, physical out.
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
    """y with the axes that came from indices moved to the front."""
    return y.transpose(*range(at, at + count), *range(at), *range(at + count, y.ndim))


def _flat_places(xp: Any, indices: list[Any], lengths: list[int]) -> Any:
    """One number for each tuple of indices, in C order."""
    flat = indices[0]
    for index, length in zip(indices[1:], lengths[1:], strict=True):
        flat = flat * length + index
    return xp.asarray(flat).reshape(-1)


def _sorted_places(xp: Any, flat: Any) -> tuple[Any, Any]:
    """The order that sorts ``flat`` stably, and where in it each new value starts."""
    order = xp.argsort(flat * flat.size + xp.arange(flat.size))  # no ties, so any sort gives this order
    places = flat[order]
    first = xp.ones(flat.size, bool)
    first[1:] = places[1:] != places[:-1]
    return order, first


def _grouped_sums(xp: Any, rows: Any, flat: Any) -> tuple[Any, Any]:
    """The sum of all rows of each position, and the positions, each once."""
    if flat.size < 2:
        return rows, flat
    order, first = _sorted_places(xp, flat)
    starts = xp.nonzero(first)[0]
    if len(starts) == len(flat):
        return rows, flat
    rank = xp.arange(len(flat)) - starts[xp.cumsum(first.astype(np.int64)) - 1]  # its rank within the position
    rows, most = rows[order], int(rank.max())
    while most:  # adds neighbours, which halves the rows of each position
        odd = xp.nonzero(rank % 2 == 1)[0]
        rows[odd - 1] += rows[odd]
        even = xp.nonzero(rank % 2 == 0)[0]
        rows, rank, most = rows[even], rank[even] // 2, most // 2
    return rows, flat[order][starts]


@primitive(returns=(), mutates=("target",), moves=True)
def set_at(xp: Any, target: Any, value: Any, key: Key, indices: list[Any], axes: tuple[int, ...], at: int) -> None:
    """target[key] at ``indices`` along ``axes`` = value, in place, for a logical array; the last of several wins."""
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


set_at.kernel(kernels.set_at)


# -- questions about indices ----------------------------------------------------------------------


@primitive(returns=("range",))
def index_range(xp: Any, index: Any) -> Any:
    """The smallest and the largest element, in an array of two."""
    return xp.stack([index.min(), index.max()])


@primitive(returns=("index",))
def valid_index(xp: Any, index: Any, length: int, negative: bool, place: str | BadData) -> Any:
    """The index as int64; if ``negative``, negative ones count from the end.

    Kernels report one that is out of range as bad data of ``place`` (``Device.check``; a str, or a ``BadData`` that has
    words of its own), and make it 0; on other
    devices it has already been checked.
    """
    return xp.where(index < 0, index + length, index).astype(np.int64)


@valid_index.kernel
def _(device: Device, index: Any, length: int, negative: bool, place: str | BadData) -> Any:
    return kernels.check_index(device, index, length, negative, place)


@primitive(returns=("places",))
def nonzero_places(xp: Any, x: Any) -> Any:
    """places (axes, K): where a logical array is not 0, in logical order, int64."""
    return xp.stack(xp.nonzero(xp.ascontiguousarray(x))).astype(np.int64, copy=False)
