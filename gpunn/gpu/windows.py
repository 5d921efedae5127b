"""Launches of the kernels whose threads each handle a window of an image (``kernels/windows.cuh``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import is_half
from gpunn.gpu import stored
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor, vector_width
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

_MOST_PIXELS = 16  # that a thread writes of a global pooling's gradient

_ENOUGH = 1 << 18  # threads that fill the largest GPUs: from here on each can have an output of its own


def _is_declared(macros: Mapping[str, str]) -> bool:
    """Eight numbers at a time are of 16 bits."""
    return stored.is_declared(macros) and (macros["VEC"] != "8" or macros["STORED"] != "0")


# What KernelSource is given for a file of such kernels.
DECLARED: dict[str, Any] = {**stored.DECLARED, "VEC": (1, 4, 8), "only": _is_declared}

# A struct for threads or blocks spread over (N, height, width, channels), given (channels, width, height).
Geometry = Callable[[tuple[int, int, int]], Struct]


def spread(over: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    """The fields of ``struct Spread`` for (channels, width, height)."""
    return tuple(divisor(max(1, n)) for n in over)


def _vector(channels: int, first: Any, *others: Any) -> int:
    return vector_width(channels, first, *others, widths=(8, 4, 1) if is_half(first.dtype) else (4, 1))


def launch_windows(
    source: KernelSource, kernel: str, device: Device, outputs: tuple[Any, ...], x: Any, geometry: Geometry, most: int
) -> None:
    """Launch a forward kernel, or its ``..._large`` form where ``most``, the size of the largest window, is large."""
    n, height, width, channels = outputs[0].shape
    vec = _vector(channels, *outputs, x)
    vectors = channels // vec
    macros: dict[str, Any] = {**stored.macros_of(x.dtype, kernel), "VEC": vec}
    threads = outputs[0].size // vec
    arrays = [stored.bits(array) for array in (*outputs, x)]
    if most < _LARGE or threads >= _ENOUGH:
        args = (*arrays, geometry((vectors, width, height)), threads)
        source.launch(device, kernel, (ceil_div(threads, _BLOCK), 1, 1), _BLOCK, args, **macros)
        return
    tiles = ceil_div(vectors, 32)  # 32 adjacent threads read whole lines of memory
    across = ceil_div(vectors, tiles)
    block = (across, min(_BLOCK // across, most), 1)
    args = (*arrays, geometry((tiles, width, height)))
    source.launch(device, f"{kernel}_large", (n * height * width * tiles, 1, 1), block, args, **macros)


def launch_backward(
    source: KernelSource, kernel: str, device: Device, dx: Any, inputs: tuple[Any, ...], geometry: Geometry
) -> None:
    """Launch a backward kernel: one thread per vector of channels of dx."""
    _, height, width, channels = dx.shape
    vec = _vector(channels, dx, *inputs)
    threads = dx.size // vec
    args = (*map(stored.bits, (dx, *inputs)), geometry((channels // vec, width, height)), threads)
    grid = (ceil_div(threads, _BLOCK), 1, 1)
    source.launch(device, kernel, grid, _BLOCK, args, **stored.macros_of(dx.dtype, kernel), VEC=vec)


def launch_global_backward(source: KernelSource, kernel: str, device: Device, dx: Any, dy: Any) -> bool:
    """Launch the backward kernel of windows that are whole images; False where an image is too large for it."""
    n, height, width, channels = dx.shape
    pixels = height * width
    if pixels + _MOST_PIXELS >= 2**31:
        return False
    vec = _vector(channels, dx, dy)
    # Enough threads to fill a GPU first, then more pixels for each.
    parts = ceil_div(pixels, max(1, min(_MOST_PIXELS, dx.size // vec // _ENOUGH)))
    each = ceil_div(pixels, parts)
    parts = ceil_div(pixels, each)
    threads = n * parts * (channels // vec)
    geometry = _whole_images(pixels, channels, channels // vec, each, parts, stored.computed(dx.dtype))
    args = (stored.bits(dx), stored.bits(dy), geometry, threads)
    grid = (ceil_div(threads, _BLOCK), 1, 1)
    source.launch(device, kernel, grid, _BLOCK, args, **stored.macros_of(dx.dtype, kernel), VEC=vec)
    return True


@functools.lru_cache(maxsize=256)
def _whole_images(pixels: int, channels: int, vectors: int, each: int, parts: int, dtype: np.dtype) -> Struct:
    """``struct WholeImages``."""
    fields = [("pixels", np.int32), ("C", np.int32), ("each", np.int32), ("count", dtype)]
    layout = np.dtype([*fields, ("by_vectors", DIVISOR), ("by_parts", DIVISOR)], align=True)
    return Struct(np.array([(pixels, channels, each, pixels, divisor(max(1, vectors)), divisor(parts))], layout))


@functools.lru_cache(maxsize=256)
def adaptive_windows(size: tuple[int, int, int], outputs: tuple[int, int], over: tuple[int, int, int]) -> Struct:
    """``struct AdaptiveWindows`` for images of ``size`` (H, W, C)."""
    h, w, c = size
    p, q = outputs
    wide = max(h * p, w * q) >= 2**31
    return Struct(np.array([(h, w, c, p, q, wide, spread(over), *(divisor(n) for n in (h, w, p, q)))], _ADAPTIVE))
