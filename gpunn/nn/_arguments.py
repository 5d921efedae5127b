"""Checks of layer arguments, and how a new parameter is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import zeros
from gpunn._device import Device
from gpunn.errors import ShapeError, UsageError, where
from gpunn.nn.parameter import Parameter
from gpunn.ops.geometry import Window


def whole(layer: str, name: str, value: Any, minimum: int = 1) -> int:
    """``value`` as an int of at least ``minimum``, or UsageError naming the layer and the argument."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < minimum:
        raise UsageError(f"{layer}: {name}: expected a whole number of at least {minimum}; got {value!r}.")
    return int(value)


def new_parameter(shape: tuple[int, ...], device: Device | str | None, dtype: Any) -> Parameter:
    """A parameter of zeros; on ``cpu`` in float32 where device and dtype are None."""
    values = zeros(*shape, dtype=np.float32 if dtype is None else dtype, device="cpu" if device is None else device)
    return Parameter(values)


def refuse_unused(op: str, window: Window) -> None:
    """Raise ShapeError if rows or columns of the padded image are seen by no window (``strict=True``)."""
    rows, columns = window.unused
    if rows or columns:
        (pad_h, pad_w), (sh, sw) = window.padding, window.stride
        raise ShapeError(
            f"{where(op)}: strict: expected windows to use the whole input; of {window.H}x{window.W} with "
            f"padding {pad_h}, {pad_w} the last {rows} row(s) and {columns} column(s) are in no window of "
            f"{window.R}x{window.S} at stride {sh}, {sw}. Change padding or stride, or leave strict out."
        )
