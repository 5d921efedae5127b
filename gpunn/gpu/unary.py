"""Launches of ``kernels/unary.cu``: one array in, one of the same shape out."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.broadcast import NUMBERS, as_numbers, c_number, launch_binary
from gpunn.gpu.launcher import KernelSource, ceil_div, vector_width

SOURCE = KernelSource("unary.cu", REAL=NUMBERS)
_BLOCK = 256

# In the order of unary.cu.
_FUNCTIONS = [
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
    "sin",
    "cos",
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "invert",
]
FUNCTION_CODES = {name: code for code, name in enumerate(_FUNCTIONS)}
QUESTION_CODES = {"isnan": 0, "isinf": 1, "isfinite": 2}


def launch_elements(device: Device, kernel: str, inputs: tuple[Any, ...], *rest: Any, dtype: Any = None) -> Any:
    """A new array of the inputs' shape, one thread per 4 elements; ``dtype``: the first input's if None."""
    first = inputs[0]
    y = device.empty(first.shape, first.dtype if dtype is None else dtype)
    arrays = [as_numbers(a) for a in (y, *inputs)]
    n = y.size
    # Vectors where all arrays are aligned to their size; the last elements go one by one.
    aligned = int(vector_width(4, *arrays) == 4)
    grid = (ceil_div(n, 4 * _BLOCK), 1, 1)
    SOURCE.launch(device, kernel, grid, _BLOCK, (*arrays, *rest, aligned, n), REAL=c_number(kernel, first.dtype))
    return y


def launch_clamp(device: Device, kernel: str, inputs: tuple[Any, ...], low: Any, high: Any) -> Any:
    """Launch clamp_forward or clamp_backward; limits are numbers or None."""
    number = inputs[0].dtype.type
    limits = [number(0) if v is None else number(v) for v in (low, high)]
    return launch_elements(device, kernel, inputs, *limits, int(low is not None), int(high is not None))


def launch_invert(device: Device, x: Any) -> Any:
    """Not x for bools, inverted bits for integers."""
    if x.dtype.kind != "b":
        return launch_elements(device, "unary_forward", (x,), FUNCTION_CODES["invert"])
    return launch_binary(device, "eq", x, np.bool_(False))
