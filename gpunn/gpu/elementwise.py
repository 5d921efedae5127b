"""Launches of kernels over arrays of one size, one thread per vector (``kernels/elementwise.cuh``)."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width

_BLOCK = 256


def launch_elementwise(
    source: KernelSource, kernel: str, device: Device, arrays: tuple[Any, ...], *scalars: Any
) -> None:
    """Launch a kernel over same-size arrays, one thread per VEC elements; ``n`` is its last parameter."""
    n = arrays[0].size
    vec = vector_width(4, *arrays)  # the tail is handled element by element, so only alignment decides
    grid = (ceil_div(n, vec * _BLOCK), 1, 1)
    source.launch(device, kernel, grid, _BLOCK, (*arrays, *scalars, n), REAL=c_type(arrays[0].dtype, kernel), VEC=vec)
