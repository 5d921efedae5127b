"""Reading and writing slices of arrays: the primitives behind ``t[1:, ::2]``."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._layout import address_of, logical, physical_shape
from gpunn.gpu.strided_copy import Box, Place, copied, copy_box, copy_of_view, place_box
from gpunn.primitive import primitive

Key = tuple[Any, ...]


# -- slices ---------------------------------------------------------------------------------------


@primitive(returns=("y",), moves=True)
def take_slice(xp: Any, x: Any, key: Key) -> Any:
    """y = x[key] for a key of numbers, slices and None; logical in, physical out, always a copy."""
    y = xp.asarray(x[key])
    return (y.transpose(0, 2, 3, 1) if y.ndim == 4 else y).copy(order="C")


@take_slice.kernel
def _(device: Device, x: Any, key: Key) -> Any:
    whole = *key, Ellipsis  # without Ellipsis NumPy turns one element into a scalar
    view = x[whole]
    return copy_of_view(device, x, view.transpose(0, 2, 3, 1) if view.ndim == 4 else view)


@primitive(returns=("dx",), moves=True)
def put_slice(xp: Any, dy: Any, shape: tuple[int, ...], key: Key) -> Any:
    """dx of a logical ``shape``: 0 except for dx[key] = dy; logical in, physical out."""
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


@primitive(returns=(), mutates=("target",), moves=True)
def set_slice(xp: Any, target: Any, value: Any, key: Key) -> None:
    """target[key] = value, in place; both logical, of one dtype."""
    target[key] = value


@set_slice.kernel
def _(device: Device, target: Any, value: Any, key: Key) -> None:
    whole = *key, Ellipsis  # without Ellipsis NumPy turns one element into a scalar
    place = target[whole]
    strides = device.xp.broadcast_to(value, place.shape).strides
    to = address_of(place) - address_of(target) if place.size else 0
    copy_box(device, target, value, Box(list(place.shape), list(place.strides), list(strides), to))


# -- any strides ----------------------------------------------------------------------------------


@primitive(returns=("y",), moves=True)
def read_strided(xp: Any, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], start: int) -> Any:
    """y of ``shape``, its elements from x beginning at element ``start``, with strides in elements; both physical."""
    return _strided(xp, x, shape, strides, start).copy(order="C")


@read_strided.kernel
def _(device: Device, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], start: int) -> Any:
    return copied(device, x, shape, [s * x.itemsize for s in strides], start * x.itemsize)


@primitive(returns=(), mutates=("target",), moves=True)
def write_strided(xp: Any, target: Any, value: Any, strides: tuple[int, ...], start: int) -> None:
    """The inverse of :func:`read_strided`, in place: the value goes to target."""
    _strided(xp, target, value.shape, strides, start)[...] = value


@write_strided.kernel
def _(device: Device, target: Any, value: Any, strides: tuple[int, ...], start: int) -> None:
    size = target.itemsize
    box = Box(list(value.shape), [s * size for s in strides], list(value.strides), start * size)
    copy_box(device, target, value, box)


def _strided(xp: Any, x: Any, shape: tuple[int, ...], strides: tuple[int, ...], start: int) -> Any:
    steps = tuple(s * x.itemsize for s in strides)
    return xp.lib.stride_tricks.as_strided(x.reshape(-1)[start:], shape, steps)
