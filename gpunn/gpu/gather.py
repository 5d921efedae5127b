"""Gathering by an index, and scattering gradients back: launches of ``places.cu``, ``gather.cu`` and ``scatter.cu``.

Whatever the form of an index, it ends up as one list of places with boxes of strides around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import address_of
from gpunn.errors import BadData, ShapeError, here
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor
from gpunn.gpu.order import order_of_rows
from gpunn.gpu.signatures import INT_MOST
from gpunn.gpu.strided_copy import BLOCK, MAX_RANK, copied, fill, memory, merged, wide

PLACES = KernelSource("places.cu", LABEL=("int32", "int64"))
GATHER = KernelSource("gather.cu", BYTES=(1, 2, 4, 8, 16))
SCATTER = KernelSource("scatter.cu", REAL=("float", "double"))

_CHUNK = 32  # as in scatter.cu
_MOST = INT_MOST
_TAKE_AXIS = np.dtype([("length", DIVISOR), ("source", np.int64), ("place", np.int64)], align=True)
_TAKE_BOX = np.dtype(
    [
        ("rank", np.int32),
        ("axis", _TAKE_AXIS, (MAX_RANK,)),
        ("start", np.int64),
        ("place_start", np.int64),
        ("scale", np.int64),
    ],
    align=True,
)
_REST_AXIS = np.dtype([("length", DIVISOR), ("source", np.int64), ("target", np.int64)], align=True)
_REST = np.dtype(
    [("size", DIVISOR), ("rank", np.int32), ("axis", _REST_AXIS, (MAX_RANK,)), ("row", np.int64), ("scale", np.int64)],
    align=True,
)
_LINE_AXIS = np.dtype([("length", DIVISOR), ("limit", np.int32), ("stride", np.int64)], align=True)
_LINES = np.dtype(
    [
        ("rank", np.int32),
        ("axis_of_index", np.int32),
        ("axis", _LINE_AXIS, (MAX_RANK,)),
        ("length", np.int32),
        ("stride", np.int64),
    ],
    align=True,
)


def _launch(
    source: KernelSource, device: Device, kernel: str, threads: int, args: Sequence[Any], **macros: Any
) -> None:
    source.launch(device, kernel, (ceil_div(threads, BLOCK), 1, 1), BLOCK, args, **macros)


def _check_rank(op: str, x: Any, axes: Sequence[Any]) -> None:
    if len(axes) > MAX_RANK:
        raise ShapeError(
            f"{here(op)}: expected at most {MAX_RANK} axes beside the indexed ones for a gradient on this device; got "
            f"shape {x.shape}. Reshape first."
        )


# -- the index ------------------------------------------------------------------------------------


def check_index(device: Device, index: Any, length: int, negative: bool, place: str | BadData) -> Any:
    """A contiguous index as int64 from 0 to ``length`` - 1; one out of range is bad data of ``place``."""
    places = device.empty(index.shape, np.int64)
    error, layer = device.error_buffer, device.place_id(place)
    args = (places, error, index, length, int(negative), layer, index.size)
    _launch(PLACES, device, "check_index", index.size, args, LABEL=index.dtype.name)
    return places


def _contiguous(device: Device, index: Any, shape: tuple[int, ...]) -> Any:
    """An index broadcast to ``shape``, in C order."""
    if index.shape == shape and index.flags.c_contiguous:
        return index
    return copied(device, index, shape, device.xp.broadcast_to(index, shape).strides)


def _folded(device: Device, indices: Sequence[Any], x: Any, axes: tuple[int, ...]) -> tuple[Any, int]:
    """Where in x several indices along ``axes`` jointly point, in C order: (places, bytes from one to the next)."""
    if len(indices) == 1:
        return _contiguous(device, indices[0], indices[0].shape), x.strides[axes[0]]
    return _joined(device, indices, [x.strides[a] // x.itemsize for a in axes]), x.itemsize


def _joined(device: Device, indices: Sequence[Any], strides: Sequence[int]) -> Any:
    """The sum of the indices, which broadcast together, times their strides, in C order."""
    common = np.broadcast_shapes(*(i.shape for i in indices))
    total = None
    for index, stride in zip(indices, strides, strict=True):
        places, every = device.empty(common, np.int64), _contiguous(device, index, common)
        _launch(PLACES, device, "fold_index", every.size, (places, total, every, stride, every.size), LABEL="int64")
        total = places
    return total


# -- picking --------------------------------------------------------------------------------------


@dataclass
class _Box:
    """The axes of y: lengths, strides in x (bytes), strides in the places (elements); and where all begin."""

    lengths: list[int]
    source: list[int]
    place: list[int]
    scale: int
    start: int = 0
    place_start: int = 0
    y_start: int = 0


def _pick(device: Device, kernel: str, y: Any, x: Any, places: Any, box: _Box, *more: Any) -> None:
    """Launch take, put or put_last, which has more arguments, for contiguous y."""
    item = y.dtype.itemsize
    strides = [item * math.prod(box.lengths[a + 1 :]) for a in range(len(box.lengths))]
    lengths, (outer, source, place) = merged(box.lengths, strides, box.source, box.place)
    size = math.prod(lengths)
    if size == 0:
        return
    if len(lengths) > MAX_RANK or size > _MOST:
        cut = lengths[0] // 2
        for first, count in ((0, cut), (cut, lengths[0] - cut)):
            moved = replace(box, lengths=[count, *lengths[1:]], source=source, place=place)
            moved.start += first * source[0]
            moved.place_start += first * place[0]
            moved.y_start += first * outer[0]
            _pick(device, kernel, y, x, places, moved, *more)
        return
    width = item
    if source[-1] == item and place[-1] == 0:
        others = (*source[:-1], box.start, box.y_start, box.scale, address_of(x), address_of(y))
        width = wide(item, lengths[-1] * item, *others)
        lengths[-1] = lengths[-1] * item // width
        source[-1] = width
        size = math.prod(lengths)
    struct = np.zeros(1, _TAKE_BOX)
    struct["rank"] = len(lengths)
    for a, values in enumerate(zip(lengths, source, place, strict=True)):
        struct["axis"][0][a] = divisor(values[0]), *values[1:]
    struct["start"], struct["place_start"], struct["scale"] = box.start, box.place_start, box.scale
    pair = (memory(y), memory(x)) if kernel == "take" else (memory(x), memory(y))
    _launch(GATHER, device, kernel, size, (*pair, places.reshape(-1), *more, struct, box.y_start, size), BYTES=width)


def _axes_of_y(
    shape: Sequence[int], strides: Sequence[int], axes: tuple[int, ...], common: tuple[int, ...], at: int
) -> list[tuple[int, int, int]]:
    """(length, stride in x, stride in the places) of each logical axis of the result of :func:`take_at`."""
    rest = [(shape[a], strides[a], 0) for a in range(len(shape)) if a not in axes]
    inner = [(n, 0, math.prod(common[a + 1 :])) for a, n in enumerate(common)]
    return [*rest[:at], *inner, *rest[at:]]


def _in_memory(axes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [axes[a] for a in (0, 2, 3, 1)] if len(axes) == 4 else axes


def take_at(device: Device, x: Any, indices: Sequence[Any], axes: tuple[int, ...], at: int) -> Any:
    """Like :func:`gpunn.ops.take_at.take_at`."""
    places, scale = _folded(device, indices, x, axes)
    found = _in_memory(_axes_of_y(x.shape, x.strides, axes, places.shape, at))
    lengths, source, place = ([axis[i] for axis in found] for i in range(3))
    y = device.empty(tuple(lengths), x.dtype)
    _pick(device, "take", y, x, places, _Box(lengths, source, place, scale))
    return y


def put_at(device: Device, dx: Any, dy: Any, indices: Sequence[Any], axes: tuple[int, ...], at: int) -> None:
    """Set dx (contiguous memory, logical axes) at the indices to dy, physical; no place occurs twice."""
    places, scale = _folded(device, indices, dx, axes)
    found = _in_memory(_axes_of_y(dx.shape, dx.strides, axes, places.shape, at))
    lengths, source, place = ([axis[i] for axis in found] for i in range(3))
    _pick(device, "put", dy, dx, places, _Box(lengths, source, place, scale))


def set_at(
    device: Device, target: Any, value: Any, key: Any, indices: Sequence[Any], axes: tuple[int, ...], at: int
) -> None:
    """Like :func:`gpunn.ops.take_at.set_at`, for a value of the target's dtype."""
    whole = *key, Ellipsis  # without Ellipsis one element becomes a scalar
    part = target[whole]
    places, scale = _folded(device, indices, part, axes)
    found = _in_memory(_axes_of_y(part.shape, part.strides, axes, places.shape, at))
    lengths, source, place = ([axis[i] for axis in found] for i in range(3))
    if 0 in lengths:
        return
    rest = [n for a, n in enumerate(part.shape) if a not in axes]
    shape = (*rest[:at], *places.shape, *rest[at:])
    value = value.reshape(value.shape[max(value.ndim - len(shape), 0) :])
    spread = device.xp.broadcast_to(value, shape)
    if spread.ndim == 4:
        spread = spread.transpose(0, 2, 3, 1)
    if not spread.flags.c_contiguous or device.overlap(target, value):
        value = copied(device, value, lengths, spread.strides)
    box = _Box(lengths, source, place, scale, address_of(part) - address_of(target))
    if places.size == 1:
        _pick(device, "put", value, target, places, box)
        return
    slots, counts = places.reshape(-1), [part.shape[a] for a in axes]
    if len(axes) > 1:
        slots = _joined(device, indices, [math.prod(counts[k + 1 :]) for k in range(len(axes))]).reshape(-1)
    last = device.empty((math.prod(counts),), np.int32)
    fill(device, last)
    _launch(PLACES, device, "mark_last", slots.size, (last, slots, slots.size), LABEL="int64")
    _pick(device, "put_last", value, target, places, box, slots, last)


def add_at(device: Device, dx: Any, dy: Any, indices: Sequence[Any], axes: tuple[int, ...], at: int) -> None:
    """Add dy, logical, to dx (zeros, contiguous memory, logical axes) at the indices, in a fixed order."""
    places, scale = _folded(device, indices, dx, axes)
    common, count, item = places.shape, places.size, dx.dtype.itemsize
    if count == 0 or dy.size == 0:
        return
    others = [a for a in range(dx.ndim) if a not in axes]
    among = range(at, at + len(common))
    around = [a for a in range(dy.ndim) if a not in among]
    rows, (steps,) = merged(common, [dy.strides[a] for a in among])
    if len(rows) > 1:  # two axes of indices that are apart in memory
        order = [*among, *around]
        dy = copied(device, dy, [dy.shape[a] for a in order], [dy.strides[a] for a in order])
        among, around = range(len(common)), list(range(len(common), dy.ndim))
        steps = [dy.strides[len(common) - 1]]
    lengths, (source, target) = merged(
        [dx.shape[a] for a in others], [dy.strides[a] for a in around], [dx.strides[a] for a in others]
    )
    _check_rank("index", dx, lengths)
    order = order_of_rows(device, places.reshape(-1), False)
    rest = math.prod(lengths)
    struct = np.zeros(1, _REST)
    struct["size"], struct["rank"] = divisor(rest), len(lengths)
    for a, (n, *of) in enumerate(zip(lengths, source, target, strict=True)):
        struct["axis"][0][a] = divisor(n), *(s // item for s in of)
    struct["row"], struct["scale"] = steps[-1] // item, scale // item
    chunks = ceil_div(count, _CHUNK)
    parts = [device.empty((chunks, rest), dx.dtype) for _ in range(2)]
    flat, threads, real = memory(dx).view(dx.dtype), chunks * rest, c_type(dx.dtype, "add_at")
    args = (flat, *parts, memory(dy).view(dy.dtype), places.reshape(-1), order, struct, count, threads)
    _launch(SCATTER, device, "sum_chunks", threads, args, REAL=real)
    if chunks > 1:
        args = (flat, *parts, places.reshape(-1), order, struct, count, threads)
        _launch(SCATTER, device, "join_chunks", threads, args, REAL=real)


# -- along an axis --------------------------------------------------------------------------------


def gather_along(device: Device, x: Any, index: Any, axis: int) -> Any:
    """y[i, j, k] = x[i, index[i, j, k], k], for axis 1; all contiguous."""
    y = device.empty(index.shape, x.dtype)
    source = [0 if a == axis else s for a, s in enumerate(x.strides)]
    box = _Box(list(index.shape), source, [s // 8 for s in index.strides], x.strides[axis])
    _pick(device, "take", y, x, index, box)
    return y


def gather_along_backward(device: Device, dy: Any, index: Any, shape: tuple[int, ...], axis: int) -> Any:
    """The gradient of :func:`gather_along` with respect to x of ``shape``."""
    dx = device.empty(shape, dy.dtype)
    if dx.size == 0 or index.size == 0:
        fill(device, dx)
        return dx
    # (length, the index's length, stride); an axis that the index covers fully merges with the axis before it.
    axes: list[tuple[int, int, int]] = []
    indexed = 0
    for a, (n, limit, stride) in enumerate(zip(shape, index.shape, index.strides, strict=True)):
        if a == axis:
            indexed = len(axes)
        if axes and limit == n and a not in (axis, axis + 1):
            axes[-1] = axes[-1][0] * n, axes[-1][1] * n, stride // 8
        else:
            axes.append((n, limit, stride // 8))
    _check_rank("gather", dx, axes)
    struct = np.zeros(1, _LINES)
    struct["rank"], struct["axis_of_index"] = len(axes), indexed
    struct["length"], struct["stride"] = index.shape[axis], index.strides[axis] // 8
    for k, (n, limit, stride) in enumerate(axes):
        struct["axis"][0][k] = divisor(n), limit, stride
    args = (dx, dy, index, struct, dx.size)
    _launch(SCATTER, device, "gather_backward", dx.size, args, REAL=c_type(dx.dtype, "gather"))
    return dx
