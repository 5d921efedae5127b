"""Checks of layer arguments, and how a new parameter is made."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn._creation import zeros
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._promotion import default_float
from gpunn._shared.numbers import whole_number
from gpunn.errors import ArgumentError, UsageError
from gpunn.nn.parameter import Parameter


def whole(layer: str, name: str, value: Any, minimum: int = 1) -> int:
    """``value`` as an int of at least ``minimum``, or UsageError naming the layer and the argument."""
    return whole_number(layer, name, value, minimum)


def truth(op: str, name: str, value: Any) -> bool:
    """``value`` if it is a bool; ArgumentError naming the layer and the argument otherwise."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{op}: {name}: expected a bool; got {value!r}. Is an argument before it left out?")
    return value


class _Room(threading.local):
    """How many bytes of parameters may still be made in this thread; None: as many as one likes."""

    left: int | None = None


_room = _Room()


@contextlib.contextmanager
def parameters_within(most: int) -> Iterator[None]:
    """Within the block, making parameters of more than ``most`` bytes in all raises UsageError.

    For a network whose sizes come from a file: the weights beside it say how large it can be.
    """
    before, _room.left = _room.left, most
    try:
        yield
    finally:
        _room.left = before


def new_parameter(shape: tuple[int, ...], device: Device | str | None, dtype: Any) -> Parameter:
    """A parameter of zeros; on ``cpu`` in the default dtype where device and dtype are None."""
    if _room.left is not None:
        _room.left -= math.prod(shape) * (default_float() if dtype is None else np.dtype(dtype)).itemsize
        if _room.left < 0:
            raise UsageError(f"a parameter of shape {shape} is too large for the weights that are to be loaded.")
    values = zeros(
        *shape, dtype=default_float() if dtype is None else dtype, device=default_device() if device is None else device
    )
    return Parameter(values)
