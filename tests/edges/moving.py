"""What only moves elements: transposes, slices, index arrays, padding, joining, and image augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.take_images import Changes
from tests.edges.draw import BATCH, FEW, Draw, around, row

_SIDE = around(4, 32)  # a vector, a tile of the transpose
_BLOCK = around(4, 256)


@row("batched_transpose")
def batched_transpose(d: Draw) -> dict[str, Any]:
    return {"x": d.numbers(*d.sizes(BATCH, _SIDE, _SIDE))}


@row("permute_axes", "flip_axes", "elements_in_logical_order")
def axes(d: Draw) -> dict[str, Any]:
    x = d.numbers(*d.sizes(BATCH, _SIDE, FEW, _SIDE))
    if d.primitive.name == "permute_axes":
        return {"x": x, "axes": d.pick((0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2), (0, 2, 3, 1))}
    if d.primitive.name == "flip_axes":
        return {"x": x, "axes": d.pick((0,), (3,), (1, 3), (0, 1, 2, 3))}
    return {"x": d.rng.integers(-9, 9, x.shape)}


@row("triangle")
def triangle(d: Draw) -> dict[str, Any]:
    x = d.numbers(*d.sizes(BATCH, _SIDE, _BLOCK))
    return {"x": x, "diagonal": d.pick(-1, 0, 1, 3), "upper": d.pick(True, False)}


@row("pad_constant")
def pad_constant(d: Draw) -> dict[str, Any]:
    x = d.numbers(*d.sizes(BATCH, _SIDE, _SIDE))
    return {"x": x, "sides": tuple((d.pick(0, 1, 3), d.pick(0, 1, 4)) for _ in range(3)), "value": d.pick(0.0, 2.5)}


@row("pad_axis", "pad_axis_backward")
def pad_axis(d: Draw) -> dict[str, Any]:
    shape = d.sizes((1, 2, 3), _SIDE, _SIDE)
    axis, mode = d.pick(1, 2), d.pick("reflect", "replicate", "circular")
    before, after = (min(d.pick(0, 1, 4, 31, 32), shape[axis] - 1) for _ in range(2))
    how = {"axis": axis, "before": before, "after": after, "mode": mode}
    if d.primitive.name == "pad_axis":
        return {"x": d.numbers(*shape), **how}
    padded = [n + (before + after) * (a == axis) for a, n in enumerate(shape)]
    return {"dy": d.numbers(*padded), "length": shape[axis], **how}


@row("join", "cut")
def join(d: Draw) -> dict[str, Any]:
    axis, lengths = d.pick(0, 1), [d.pick(0, *_BLOCK[:8]) for _ in range(d.pick(*FEW, 65))]  # 64 in a launch
    other = d.pick(*around(4))
    arrays = [d.numbers(*((n, other) if axis == 0 else (other, n))) for n in lengths]
    if d.primitive.name == "join":
        return {"arrays": arrays, "axis": axis}
    whole = np.concatenate(arrays, axis)
    return {"parts": [np.zeros_like(a) for a in arrays], "lengths": lengths, "whole": whole, "axis": axis}


# -- slices and index arrays ----------------------------------------------------------------------


def _slice(d: Draw) -> tuple[list[int], tuple[Any, ...]]:
    shape = d.sizes(BATCH, _SIDE, _BLOCK)
    return shape, (slice(None), slice(d.pick(0, 1), None, d.pick(1, 2)), slice(d.pick(0, 1, 4), None, d.pick(1, 3)))


@row("take_slice")
def take_slice(d: Draw) -> dict[str, Any]:
    shape, key = _slice(d)
    return {"x": d.numbers(*shape), "key": key}


@row("put_slice")
def put_slice(d: Draw) -> dict[str, Any]:
    shape, key = _slice(d)
    return {"dy": d.numbers(*np.empty(shape)[key].shape), "shape": tuple(shape), "key": key}


@row("set_slice")
def set_slice(d: Draw) -> dict[str, Any]:
    shape, key = _slice(d)
    wanted = np.empty(shape)[key].shape
    value = d.numbers(*d.pick(wanted, (1,) * len(wanted), wanted[1:]))
    return {"target": d.numbers(*shape), "value": value, "key": key}


@row("read_strided", "write_strided")
def strided(d: Draw) -> dict[str, Any]:
    shape, key = _slice(d)
    x = d.numbers(*shape)
    part = x[key].transpose(d.pick((0, 1, 2), (2, 1, 0), (1, 0, 2)))
    start = (part.ctypes.data - x.ctypes.data) // x.itemsize if part.size else 0
    how = {"strides": tuple(s // x.itemsize for s in part.strides), "start": start}
    if d.primitive.name == "read_strided":
        return {"x": x, "shape": part.shape, **how}
    return {"target": x, "value": d.numbers(*part.shape), **how}


@row("put_parts")
def put_parts(d: Draw) -> dict[str, Any]:
    rows, columns = d.sizes(_SIDE, _BLOCK)
    at = int(d.rng.integers(0, columns + 1))
    keys = [(slice(None), slice(0, at)), (slice(None), slice(at, columns))]
    parts = [d.numbers(rows, n) for n in (at, columns - at)]
    return {"parts": parts, "shape": (rows, columns), "keys": keys, "dtype": np.float32}


@row("take_at", "add_at", "set_at")
def at(d: Draw) -> dict[str, Any]:
    count, length, inner = d.sizes((0, *_BLOCK), around(8), around(4, 32))
    how = {"indices": [d.indices(length, count)], "axes": (0,), "at": 0}
    if d.primitive.name == "set_at":
        return {"target": d.numbers(length, inner), "value": d.numbers(count, inner), "key": (), **how}
    if d.primitive.name == "take_at":
        return {"x": d.numbers(length, inner), **how}
    return {"dy": d.numbers(count, inner), **how, "shape": (length, inner), "unique": False}


@row("running_sum")
def running_sum(d: Draw) -> dict[str, Any]:
    rows, length = d.sizes(around(4), (0, *around(4, 32, 256, 1024, 2048)))
    lies = d.pick(0, 1)
    return {
        "x": d.numbers(*((length, rows) if lies == 0 else (rows, length))),
        "axis": lies,
        "backwards": d.pick(True, False),
    }


@row("sort_places")
def sort_places(d: Draw) -> dict[str, Any]:
    rows, length = d.sizes(around(4), (0, *around(4, 32, 256, 1024, 2048)))
    lies = d.pick(0, 1)
    x = d.rng.integers(-9, 9, (length, rows) if lies == 0 else (rows, length))
    return {"x": x.astype(d.pick("f4", "f8", "i8")), "axis": lies, "descending": d.pick(True, False)}


@row("places_among")
def places_among(d: Draw) -> dict[str, Any]:
    rows, length, each = d.sizes(around(4), (0, *around(4, 32)), _BLOCK)
    line = np.sort(d.rng.integers(-9, 9, (rows, length)), axis=1).astype(np.float32)
    values = d.rng.integers(-10, 10, (rows, each)).astype(np.float32)
    return {"rows": line, "values": values, "right": d.pick(True, False)}


@row("gather_along", "gather_along_backward")
def gather_along(d: Draw) -> dict[str, Any]:
    rows, columns, picked = d.sizes(around(4), around(8, 32), (0, *around(32, 256)))
    how = {"index": d.indices(columns, rows, picked), "axis": 1}
    if d.primitive.name == "gather_along":
        return {"x": d.numbers(rows, columns), **how}
    return {"dy": d.numbers(rows, picked), **how, "shape": (rows, columns)}


# -- augmentation ---------------------------------------------------------------------------------


def _image(d: Draw) -> np.ndarray:
    return d.numbers(*d.sizes(BATCH, around(8), around(16), around(4)))


@row("resample")
def resample(d: Draw) -> dict[str, Any]:
    x = _image(d)
    n, h, w, _ = x.shape
    p, q = d.sizes(around(8), around(16), most=200)
    return {"x": x, "rows": d.rng.integers(-2, h + 2, (n, p)), "columns": d.rng.integers(-2, w + 2, (n, q))} | {
        "fill": 0.5
    }


@row("erase")
def erase(d: Draw) -> dict[str, Any]:
    x = _image(d)
    n, h, w, _ = x.shape
    corner = {"top": d.rng.integers(-1, h, n), "left": d.rng.integers(-1, w, n)}
    return {"x": x, **corner, "height": d.pick(1, 3, h), "width": d.pick(1, 4, w), "fill": -1.0}


@row("take_images")
def take_images(d: Draw) -> dict[str, Any]:
    count = d.pick(1, 3, 5)
    h, w, c = d.sizes(around(8), around(16), around(4), most=1200)
    p, q = d.sizes(
        around(8), around(32, 342), most=1500
    )  # a block writes 1024 numbers: with 3 channels about 342 pixels
    padding = max(0, -(-(p - h) // 2), -(-(q - w) // 2)) + d.pick(0, 1, 4)
    chance = d.pick(0.0, 0.5, 1.0)
    changes = Changes((p, q), padding, d.pick(True, False), chance, chance, d.pick(True, False), d.pick(0, 1, 3), 0.5)
    floats = d.pick(True, False)
    bytes_of = d.rng.integers(0, 256, (count, h, w, c), dtype=np.uint8)
    return {
        "images": d.numbers(count, h, w, c) if floats else bytes_of,
        "labels": d.indices(9, count),
        "indices": d.rng.integers(0, count, d.pick(*BATCH), dtype=np.int32),
        "words": np.array([*d.rng.integers(0, 2**64, 2, np.uint64), d.pick(0, 1, 7)], np.uint64),
        "mean": None if floats else d.positive(c),
        "std": None if floats else d.positive(c),
        "changes": changes,
    }


@row("jitter")
def jitter(d: Draw) -> dict[str, Any]:
    n, h, w, c = d.sizes(BATCH, around(16), around(16), (1, 3))
    factors = {name: d.positive(n) for name in ("brightness", "contrast", "saturation")}
    return {"x": d.numbers(n, h, w, c), **factors, "mean": d.positive(c), "std": d.positive(c)}
