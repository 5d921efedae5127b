"""Checks of layer arguments, and how a new parameter is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import zeros
from gpunn._device import Device
from gpunn._shared.numbers import whole_number
from gpunn.nn.parameter import Parameter


def whole(layer: str, name: str, value: Any, minimum: int = 1) -> int:
    """``value`` as an int of at least ``minimum``, or UsageError naming the layer and the argument."""
    return whole_number(layer, name, value, minimum)


def new_parameter(shape: tuple[int, ...], device: Device | str | None, dtype: Any) -> Parameter:
    """A parameter of zeros; on ``cpu`` in float32 where device and dtype are None."""
    values = zeros(*shape, dtype=np.float32 if dtype is None else dtype, device="cpu" if device is None else device)
    return Parameter(values)
