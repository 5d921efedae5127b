"""Reading and writing slices of arrays: the primitives behind ``t[1:, ::2]``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical_shape
from gpunn.gpu.strided_copy import Place, copy_of_view, place_box
from gpunn.primitive import primitive

Key = tuple[Any, ...]

# -- slices ---------------------------------------------------------------------------------------


def _keys() -> list[tuple[tuple[int, ...], Key]]:
    return [
        ((2, 3, 4, 5), (slice(None), slice(None), slice(0, None, 2), slice(1, 4))),
        ((2, 3, 4, 5), (0, slice(None), 1, None)),
        ((2, 3), (slice(1, 2), slice(None))),
        ((2, 8, 5, 6), (slice(None), slice(None), slice(None, None, 2), slice(1, None, 2))),
        ((3, 8, 4, 4), (slice(None), slice(4, 8))),
        ((0, 3), (slice(None), slice(2, 9))),
        ((5,), (3,)),
        ((), ()),
    ]


def _take_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"x": np.asarray(rng.standard_normal(shape), np.float32), "key": key} for shape, key in _keys()]
    return [*made, {"x": np.arange(4), "key": (slice(0, 3, 2),)}]


@primitive(examples=_take_examples, returns=("y",))
def take_slice(xp: Any, x: Any, key: Key) -> Any:
    """y = x[key], of numbers, slices and None; logical in, physical out, always a copy."""
    y = xp.asarray(x[key])
    return (y.transpose(0, 2, 3, 1) if y.ndim == 4 else y).copy(order="C")


@take_slice.kernel
def _(device: Device, x: Any, key: Key) -> Any:
    whole = *key, Ellipsis  # without it NumPy makes a number of one element
    view = x[whole]
    return copy_of_view(device, x, view.transpose(0, 2, 3, 1) if view.ndim == 4 else view)


def _put_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": np.asarray(np.ones(s)[k], np.float32), "shape": s, "key": k} for s, k in _keys()]


@primitive(examples=_put_examples, returns=("dx",))
def put_slice(xp: Any, dy: Any, shape: tuple[int, ...], key: Key) -> Any:
    """dx = 0 of a logical ``shape`` but for dx[key] = dy; logical in, physical out."""
    dx = xp.zeros(physical_shape(shape), dy.dtype)
    logical(dx)[key] = dy
    return dx


@put_slice.kernel
def _(device: Device, dy: Any, shape: tuple[int, ...], key: Key) -> Any:
    places, axis = [], 0  # of dy
    given = iter(key)
    for n in shape:
        item = next(given, slice(None))
        while item is None:
            axis, item = axis + 1, next(given, slice(None))
        if isinstance(item, slice):
            first, stop, step = item.indices(n)
            places.append(Place(n, first, step, len(range(first, stop, step)), dy.strides[axis]))
            axis += 1
        else:
            places.append(Place(n, item % n, 1, 1, 0))
    return place_box(device, dy, [places[a] for a in physical_shape(tuple(range(len(shape))))], dy.dtype)


def _set_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"target": np.zeros(s, np.float32), "value": np.float32(2), "key": k} for s, k in _keys()]
    return [*made, {"target": np.zeros((2, 3)), "value": np.arange(3), "key": (1,)}]


@primitive(examples=_set_examples, returns=(), mutates=("target",))
def set_slice(xp: Any, target: Any, value: Any, key: Key) -> None:
    """target[key] = value, in place, of a logical array."""
    target[key] = value
