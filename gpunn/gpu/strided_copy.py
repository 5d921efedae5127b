"""Copies between arrays with any strides on devices with kernels (``kernels/strided_copy.cu``).

Splitting, joining, transposing, repeating and padding are all one thing to a GPU: a box of elements that is read with
some strides and written with others. What the ops share is here. A box is first simplified (neighbouring axes that
continue each other are merged) and its elements widened (16 bytes where runs are long enough on both sides).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import address_of
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor
from gpunn.gpu.signatures import INT_MOST

SOURCE = KernelSource("strided_copy.cu", BYTES=(1, 2, 4, 8, 16))
BLOCK = 256
MAX_RANK = 6  # as in bytes.cuh
_MOST = INT_MOST  # threads of a launch: element numbers are ints
_WIDTHS = (16, 8, 4, 2)


def memory(array: Any) -> Any:
    """The bytes, as stored, of an array whose axes are those of contiguous memory in any order."""
    if array.size == 0:
        return array.reshape(-1).view(np.uint8)
    order = sorted(range(array.ndim), key=lambda a: -array.strides[a] if array.shape[a] > 1 else 0)
    flat = array.transpose(order)
    assert flat.flags.c_contiguous, f"strides {array.strides} of {array.shape} are not those of whole memory"
    return flat.reshape(-1).view(np.uint8)


def bits_of(value: Any, dtype: Any) -> int:
    """A constant of this dtype, repeated to fill eight bytes."""
    one = np.array([value]).astype(dtype)
    return int(np.repeat(one, 8 // one.itemsize).view(np.uint64)[0])


def merged(shape: Sequence[int], *strides: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """The axes of a box without those of 1, with neighbours merged where all ``strides`` allow; at least one axis."""
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for a, n in enumerate(shape):
        if n == 1:
            continue
        if lengths and all(s[-1] == every[a] * n for s, every in zip(steps, strides, strict=True)):
            lengths[-1] *= n
            for s, every in zip(steps, strides, strict=True):
                s[-1] = every[a]
        else:
            lengths.append(n)
            for s, every in zip(steps, strides, strict=True):
                s.append(every[a])
    return lengths or [1], steps if lengths else [[0] for _ in strides]


def wide(item: int, *multiples: int) -> int:
    """The bytes of an element: the widest that divides all ``multiples``, which are 0 or multiples of ``item``."""
    common = math.gcd(*multiples)
    return next((w for w in _WIDTHS if w > item and common % w == 0), item)


@dataclass
class Box:
    """A box: its axes, and on both sides its strides and where it begins (bytes)."""

    shape: list[int]
    target: list[int]
    source: list[int]
    to: int = 0
    start: int = 0

    def halves(self, axis: int) -> Iterator[Box]:
        """The box split in two along an axis."""
        cut = self.shape[axis] // 2
        for first, count in ((0, cut), (cut, self.shape[axis] - cut)):
            shape = [*self.shape[:axis], count, *self.shape[axis + 1 :]]
            ahead = first * self.target[axis], first * self.source[axis]
            yield Box(shape, self.target, self.source, self.to + ahead[0], self.start + ahead[1])


_COPY_AXIS = np.dtype([("length", DIVISOR), ("target", np.int64), ("source", np.int64)], align=True)
_COPY_BOX = np.dtype([("rank", np.int32), ("axis", _COPY_AXIS, (MAX_RANK,))], align=True)


def copy_box(device: Device, to: Any, source: Any, box: Box) -> None:
    """Launch the copy of a box of ``source`` into one of ``to``, both in contiguous memory, of one item size."""
    if 0 in box.shape:
        return
    item = to.dtype.itemsize
    # Neighbouring threads write neighbours.
    axes = sorted(range(len(box.shape)), key=lambda a: -abs(box.target[a]) if box.shape[a] > 1 else 0)
    lengths, (target, read) = merged(*([of[a] for a in axes] for of in (box.shape, box.target, box.source)))
    small = Box(lengths, target, read, box.to, box.start)
    size = math.prod(lengths)
    if len(lengths) > MAX_RANK or size > _MOST:
        for part in small.halves(0):
            copy_box(device, to, source, part)
        return
    width = item
    if target[-1] == read[-1] == item:
        outer = (*target[:-1], *read[:-1], box.to, box.start, address_of(to), address_of(source))
        width = wide(item, lengths[-1] * item, *outer)
        lengths[-1] = lengths[-1] * item // width
        target[-1] = read[-1] = width
        size = math.prod(lengths)
    struct = np.zeros(1, _COPY_BOX)
    struct["rank"] = len(lengths)
    for a, values in enumerate(zip(lengths, target, read, strict=True)):
        struct["axis"][0][a] = divisor(values[0]), *values[1:]
    args = (memory(to), memory(source), struct, box.to, box.start, size)
    SOURCE.launch(device, "copy_box", (ceil_div(size, BLOCK), 1, 1), BLOCK, args, BYTES=width)


def copied(device: Device, x: Any, shape: Sequence[int], strides: Sequence[int], start: int = 0) -> Any:
    """A contiguous array of ``shape``, each element from x at ``start`` plus its index times ``strides`` (bytes)."""
    y = device.empty(tuple(shape), x.dtype)
    copy_box(device, y, x, Box(list(shape), list(y.strides), list(strides), 0, start))
    return y


def view_box(x: Any, view: Any) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shape, strides and start (bytes) of a view of x, for :func:`copied`."""
    return view.shape, view.strides, address_of(view) - address_of(x) if view.size else 0


def copy_of_view(device: Device, x: Any, view: Any) -> Any:
    """A contiguous copy of a view of x, whose memory is contiguous."""
    return copied(device, x, *view_box(x, view))


# -- constants around -----------------------------------------------------------------------------


@dataclass
class Place:
    """How an axis of the result maps to the source: element ``first + j step`` is the source's j-th, of ``count``."""

    length: int
    first: int
    step: int
    count: int
    source: int  # bytes

    @property
    def whole(self) -> bool:
        """Whether the axis holds the whole source and nothing else."""
        return (self.first, self.step, self.count) == (0, 1, self.length)


_PLACE_AXIS = np.dtype(
    [("length", DIVISOR), ("step", DIVISOR), ("first", np.int32), ("count", np.int32), ("source", np.int64)], align=True
)
_PLACE_BOX = np.dtype([("rank", np.int32), ("axis", _PLACE_AXIS, (MAX_RANK,))], align=True)


def place_box(device: Device, source: Any, places: Sequence[Place], dtype: Any, outside: Any = 0) -> Any:
    """A new contiguous array with axes ``places``: ``source`` inside and a constant everywhere else."""
    y = device.empty(tuple(p.length for p in places), dtype)
    if y.size == 0:
        return y
    bits = bits_of(outside, y.dtype)
    if source.size == 0 or any(p.count == 0 for p in places):
        fill(device, y, bits)
    else:
        _place(device, y, source, places, bits, 0, 0)
    return y


def _place(device: Device, y: Any, source: Any, places: Sequence[Place], bits: int, to: int, start: int) -> None:
    """Write the part of y that begins at byte ``to`` and has axes ``places``."""
    item, size = y.dtype.itemsize, math.prod(p.length for p in places)
    axes: list[Place] = []
    for p in places:
        if p.length == 1:  # its one element is inside, or all of this is outside
            j, between = divmod(-p.first, p.step)
            if between or not 0 <= j < p.count:
                fill(device, y.reshape(-1)[to // item : to // item + size], bits)
                return
            start += j * p.source
            continue
        last = axes[-1] if axes else None
        if last and p.whole and last.step == 1 and last.source == p.source * p.length:
            n = p.length
            axes[-1] = Place(last.length * n, last.first * n, 1, last.count * n, p.source)
        else:
            axes.append(p)
    axes = axes or [Place(1, 0, 1, 1, 0)]
    if len(axes) > MAX_RANK or size > _MOST:
        first, rest = axes[0], axes[1:]
        below, half = size // first.length * item, first.length // 2
        for low, count in ((0, half), (half, first.length - half)):
            part = Place(count, first.first - low, first.step, first.count, first.source)
            _place(device, y, source, [part, *rest], bits, to + low * below, start)
        return
    width, last = item, axes[-1]
    if last.step == 1 and last.source == item:
        runs = (last.length * item, last.first * item, last.count * item)
        width = wide(item, *runs, *(p.source for p in axes[:-1]), to, start, address_of(y), address_of(source))
        many = width // item
        axes[-1] = Place(last.length // many, last.first // many, 1, last.count // many, width)
        size //= many
    struct = np.zeros(1, _PLACE_BOX)
    struct["rank"] = len(axes)
    for a, p in enumerate(axes):
        struct["axis"][0][a] = divisor(p.length), divisor(p.step), p.first, p.count, p.source
    args = (memory(y), memory(source), struct, to, start, bits, size)
    SOURCE.launch(device, "place_box", (ceil_div(size, BLOCK), 1, 1), BLOCK, args, BYTES=width)


def fill(device: Device, y: Any, bits: int = 0) -> None:
    """Fill an array in contiguous memory with a constant, given by :func:`bits_of`."""
    if y.size == 0:
        return
    width = wide(y.dtype.itemsize, y.size * y.dtype.itemsize, address_of(y))
    count = y.size * y.dtype.itemsize // width
    SOURCE.launch(device, "fill_bytes", (ceil_div(count, BLOCK), 1, 1), BLOCK, (memory(y), bits, count), BYTES=width)


# -- several arrays in one ------------------------------------------------------------------------

_MAX_PARTS = 64  # as in strided_copy.cu
_PART = np.dtype([("memory", np.uint64), ("end", np.int32)], align=True)
_PARTS = np.dtype([("columns", DIVISOR), ("count", np.int32), ("part", _PART, (_MAX_PARTS,))], align=True)


def join_parts(device: Device, whole: Any, parts: Sequence[Any], lengths: Sequence[int], axis: int) -> None:
    """Join contiguous arrays along ``axis`` of ``whole``."""
    _launch_parts(device, "join_parts", whole, parts, lengths, axis, "in")


def cut_parts(device: Device, whole: Any, parts: Sequence[Any], lengths: Sequence[int], axis: int) -> None:
    """Split ``whole`` along ``axis`` into arrays, skipping those that are None."""
    _launch_parts(device, "cut_parts", whole, parts, lengths, axis, "inout")


def _launch_parts(
    device: Device, kernel: str, whole: Any, parts: Sequence[Any], lengths: Sequence[int], axis: int, access: str
) -> None:
    if whole.size == 0:
        return
    item = whole.dtype.itemsize
    below, rows = math.prod(whole.shape[axis + 1 :]) * item, math.prod(whole.shape[:axis])
    known = [(p, n * below) for p, n in zip(parts, lengths, strict=True) if n]
    arrays = [p for p, _ in known if p is not None]
    if access == "inout" and not arrays:
        return
    width = wide(item, *(n for _, n in known), address_of(whole), *map(address_of, arrays))
    row, start = whole.shape[axis] * below, 0
    for first in range(0, len(known), _MAX_PARTS):
        group = known[first : first + _MAX_PARTS]
        struct = np.zeros(1, _PARTS)
        columns = sum(n for _, n in group) // width
        if columns > _MOST:
            _one_by_one(device, whole, group, start, rows, access)
            start += sum(n for _, n in group)
            continue
        struct["columns"], struct["count"] = divisor(columns), len(group)
        most = _MOST // columns
        for top in range(0, rows, most):
            count, end = min(most, rows - top), 0
            for p, (part, n) in enumerate(group):
                end += n // width
                struct["part"][0][p] = 0 if part is None else address_of(part) + top * n, end

            def pointees(first: int = first, group: Any = group, access: str = access) -> list[tuple[Any, str, str]]:
                return [(memory(p), access, f"part {first + i}") for i, (p, _) in enumerate(group) if p is not None]

            threads = count * columns
            args = (memory(whole), struct.copy(), start + top * row, row, threads)
            SOURCE.launch(device, kernel, (ceil_div(threads, BLOCK), 1, 1), BLOCK, args, pointees=pointees, BYTES=width)
        start += sum(n for _, n in group)


def _one_by_one(device: Device, whole: Any, group: Sequence[Any], start: int, rows: int, access: str) -> None:
    """Copy each part by itself, as a box: for rows of more elements than a launch has threads."""
    row, item = whole.nbytes // rows, whole.dtype.itemsize
    for part, n in group:
        shape, wide_rows, narrow_rows = [rows, n // item], [row, item], [n, item]
        if part is not None and access == "in":
            copy_box(device, whole, part, Box(shape, wide_rows, narrow_rows, start, 0))
        elif part is not None:
            copy_box(device, part, whole, Box(shape, narrow_rows, wide_rows, 0, start))
        start += n
