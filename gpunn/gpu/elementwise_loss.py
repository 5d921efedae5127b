"""Launches of ``kernels/elementwise_loss.cu``: a specialisation for each loss between two arrays of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width

SOURCE = KernelSource(
    "elementwise_loss.cu",
    REAL=("float", "double"),
    VEC=(1, 4),
    LOSS=("SQUARED", "ABSOLUTE", "ROUNDED", "BINARY", "LOGISTIC"),
)

_BLOCK = 256

_EACH = 8  # a thread adds up at least this many vectors, where there are several blocks

_PARTS = 1024  # blocks at most

Two = tuple[bool, bool]  # whether the gradients of input and target are wanted

# -- kernels --------------------------------------------------------------------------------------

Form = tuple[float, float, float]  # edge, slope and edge / slope, for LOSS=ROUNDED


def launch_loss(
    device: Device,
    loss: str,
    x: Any,
    target: Any,
    divisor: float | None,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    form: Form = (1.0, 1.0, 1.0),
    layer: int | None = None,
) -> Any:
    """The terms of the specialisation ``loss``, or with a divisor their sum / divisor.

    Bad data is reported for ``layer``, if given.
    """
    error = None if layer is None else device.error_buffer
    inputs, n = (error, x, target, weight, pos_weight, *form), x.size
    if divisor is None:
        terms = device.empty(x.shape, x.dtype)
        vec = vector_width(4, terms, *inputs[:5])
        _launch(device, "loss_terms", loss, ceil_div(n, vec * _BLOCK), (terms, *inputs, layer or 0, n), x.dtype, vec)
        return terms
    total, vec = device.empty((), x.dtype), vector_width(4, *inputs[:5])
    blocks = max(1, min(_PARTS, ceil_div(n, vec * _BLOCK * _EACH)))
    parts = device.empty((blocks,), np.float64) if blocks > 1 else None
    args = (total if blocks == 1 else None, parts, *inputs, divisor, layer or 0, n)
    _launch(device, "loss_parts", loss, blocks, args, x.dtype, vec)
    if blocks > 1:
        _launch(device, "loss_total", loss, 1, (total, parts, blocks, divisor), x.dtype, vec)
    return total


def launch_gradients(
    device: Device,
    loss: str,
    dy: Any,
    x: Any,
    target: Any,
    divisor: float | None,
    needs: Two,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    form: Form = (1.0, 1.0, 1.0),
) -> tuple[Any, Any]:
    """The gradients of input and target, None where not wanted."""
    made = tuple(device.empty(x.shape, x.dtype) if need else None for need in needs)
    arrays = (*made, dy, x, target, weight, pos_weight)
    each, n = divisor is None, x.size
    vec = vector_width(4, *arrays)
    args = (*arrays, *form, 1.0 if divisor is None else divisor, int(each), n)
    _launch(device, "loss_backward", loss, ceil_div(n, vec * _BLOCK), args, x.dtype, vec)
    return made[0], made[1]


def _launch(device: Device, kernel: str, loss: str, blocks: int, args: Any, dtype: Any, vec: int) -> None:
    macros: dict[str, Any] = {"REAL": c_type(dtype, kernel), "VEC": vec, "LOSS": loss}
    SOURCE.launch(device, kernel, (blocks, 1, 1), _BLOCK, args, **macros)
