"""Launches of kernels over arrays of one size, one thread per vector (``kernels/elementwise.cuh``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunn._device import Device
from gpunn._half import is_half
from gpunn.gpu import stored
from gpunn.gpu.launcher import KernelSource, ceil_div, vector_width

_BLOCK = 256


def _is_declared(macros: Mapping[str, str]) -> bool:
    """Vectors are of 16 bytes, and of doubles two such."""
    return stored.is_declared(macros) and macros["VEC"] in ("1", "4" if macros["STORED"] == "0" else "8")


# What KernelSource is given for a file of such kernels.
DECLARED: dict[str, Any] = {**stored.DECLARED, "VEC": (1, 4, 8), "only": _is_declared}


def launch_elementwise(
    source: KernelSource, kernel: str, device: Device, arrays: tuple[Any, ...], *scalars: Any
) -> None:
    """Launch a kernel over same-size arrays, one thread per VEC elements; ``n`` is its last parameter."""
    n, dtype = arrays[0].size, arrays[0].dtype
    width = 8 if is_half(dtype) else 4
    vec = vector_width(width, *arrays, widths=(width,))  # the tail goes element by element, so only alignment decides
    grid = (ceil_div(n, vec * _BLOCK), 1, 1)
    args = (*map(stored.bits, arrays), *scalars, n)
    source.launch(device, kernel, grid, _BLOCK, args, **stored.macros_of(dtype, kernel), VEC=vec)
