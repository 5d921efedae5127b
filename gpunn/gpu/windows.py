"""Launches of the kernels whose threads each handle a window of an image (``kernels/windows.cuh``)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct

# -- launches (kernels/windows.cuh) ---------------------------------------------------------------

SPREAD = np.dtype([(f, DIVISOR) for f in ("by_channels", "by_width", "by_height")])  # struct Spread

_ADAPTIVE = np.dtype(
    [(f, np.int32) for f in ("H", "W", "C", "P", "Q", "wide")]
    + [("over", SPREAD)]
    + [(f, DIVISOR) for f in ("by_H", "by_W", "by_P", "by_Q")]
)

_BLOCK = 256  # threads of a block, at most: BLOCK in windows.cuh

_LARGE = 32  # from this many elements on, the threads of a block share a window

_ENOUGH = 1 << 18  # threads that fill the largest GPUs: from here on each can have an output of its own

# A struct for threads or blocks spread over (N, height, width, channels), given (channels, width, height).
Geometry = Callable[[tuple[int, int, int]], Struct]


def spread(over: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    """The fields of ``struct Spread`` for (channels, width, height)."""
    return tuple(divisor(max(1, n)) for n in over)


def launch_windows(
    source: KernelSource, kernel: str, device: Device, outputs: tuple[Any, ...], x: Any, geometry: Geometry, most: int
) -> None:
    """Launch a forward kernel, or its ``..._large`` form where ``most``, the size of the largest window, is large."""
    n, height, width, channels = outputs[0].shape
    vec = vector_width(channels, *outputs, x)
    vectors = channels // vec
    macros: dict[str, Any] = {"REAL": c_type(x.dtype, kernel), "VEC": vec}
    threads = outputs[0].size // vec
    if most < _LARGE or threads >= _ENOUGH:
        args = (*outputs, x, geometry((vectors, width, height)), threads)
        source.launch(device, kernel, (ceil_div(threads, _BLOCK), 1, 1), _BLOCK, args, **macros)
        return
    tiles = ceil_div(vectors, 32)  # 32 adjacent threads read whole lines of memory
    across = ceil_div(vectors, tiles)
    block = (across, min(_BLOCK // across, most), 1)
    args = (*outputs, x, geometry((tiles, width, height)))
    source.launch(device, f"{kernel}_large", (n * height * width * tiles, 1, 1), block, args, **macros)


def launch_backward(
    source: KernelSource, kernel: str, device: Device, dx: Any, inputs: tuple[Any, ...], geometry: Geometry
) -> None:
    """Launch a backward kernel: one thread per vector of channels of dx."""
    _, height, width, channels = dx.shape
    vec = vector_width(channels, dx, *inputs)
    threads = dx.size // vec
    args = (dx, *inputs, geometry((channels // vec, width, height)), threads)
    grid = (ceil_div(threads, _BLOCK), 1, 1)
    source.launch(device, kernel, grid, _BLOCK, args, REAL=c_type(dx.dtype, kernel), VEC=vec)


@functools.lru_cache(maxsize=256)
def adaptive_windows(size: tuple[int, int, int], outputs: tuple[int, int], over: tuple[int, int, int]) -> Struct:
    """``struct AdaptiveWindows`` for images of ``size`` (H, W, C)."""
    h, w, c = size
    p, q = outputs
    wide = max(h * p, w * q) >= 2**31
    return Struct(np.array([(h, w, c, p, q, wide, spread(over), *(divisor(n) for n in (h, w, p, q)))], _ADAPTIVE))
