"""Changing images at random: shifts and mirrors, erased squares, colours (``kernels/augment.cu``).

A batch is changed at a time, on its device.
The random numbers, a few for each image, are drawn on the host; the images never leave their device.
These primitives are what ``gpunn.data.transforms`` is made of; nothing here is on the tape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.primitive import primitive

SOURCE = KernelSource("augment.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256
_DIVISORS = ("by_channels", "by_width", "by_height")
_IMAGES = np.dtype([(name, np.int32) for name in "HWC"] + [(name, DIVISOR) for name in _DIVISORS])


@primitive(returns=("y",), tolerance=0)
def resample(xp: Any, x: Any, rows: Any, columns: Any, fill: float) -> Any:
    """y[n, p, q] = x[n, rows[n, p], columns[n, q]], and ``fill`` where that lies outside the image.

    x (N, H, W, C), rows (N, P) and columns (N, Q) int64; y (N, P, Q, C).
    """
    n, h, w, _ = x.shape
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    image = xp.arange(n)[:, None, None]
    y = x[image, xp.clip(rows, 0, h - 1)[:, :, None], xp.clip(columns, 0, w - 1)[:, None, :]]
    return xp.ascontiguousarray(xp.where(inside[..., None], y, x.dtype.type(fill)))


def _launch(device: Device, kernel: str, y: Any, x: Any, more: tuple[Any, ...], *scalars: Any) -> None:
    """Launch a thread for each vector of channels of y."""
    if y.size == 0:
        return
    (_, h, w, c), (_, p, q, _) = x.shape, y.shape
    vec = vector_width(c, y, x)
    # ``more`` holds 8-byte indices, never read as vectors, but the launcher checks all pointers.
    vec = vector_width(vec, *more, widths=(vec, 1))
    images = np.array([(h, w, c, divisor(c // vec), divisor(q), divisor(p))], _IMAGES)
    threads = y.size // vec
    macros: dict[str, Any] = {"REAL": c_type(y.dtype, kernel), "VEC": vec}
    args = (y, x, *more, images, *scalars, threads)
    SOURCE.launch(device, kernel, (ceil_div(threads, _BLOCK), 1, 1), _BLOCK, args, **macros)


@resample.kernel
def _(device: Device, x: Any, rows: Any, columns: Any, fill: float) -> Any:
    y = device.empty((x.shape[0], rows.shape[1], columns.shape[1], x.shape[3]), x.dtype)
    _launch(device, "resample", y, x, (rows, columns), fill)
    return y


@primitive(returns=("y",), tolerance=0)
def erase(xp: Any, x: Any, top: Any, left: Any, height: int, width: int, fill: float) -> Any:
    """x (N, H, W, C) with a rectangle of each image set to ``fill``: corner at top, left (N,), clipped at the edges."""
    row, column = xp.arange(x.shape[1])[None, :], xp.arange(x.shape[2])[None, :]
    down = (row >= top[:, None]) & (row < top[:, None] + height)
    across = (column >= left[:, None]) & (column < left[:, None] + width)
    return xp.where((down[:, :, None] & across[:, None, :])[..., None], x.dtype.type(fill), x)


@erase.kernel
def _(device: Device, x: Any, top: Any, left: Any, height: int, width: int, fill: float) -> Any:
    y = device.empty(x.shape, x.dtype)
    _launch(device, "erase", y, x, (top, left), height, width, fill)
    return y


_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@primitive(returns=("y",))
def jitter(xp: Any, x: Any, brightness: Any, contrast: Any, saturation: Any, mean: Any, std: Any) -> Any:
    """Pixels p = x * std + mean in [0, 1] with changed brightness, contrast and saturation; standardised again.

    p <- clip(p * brightness);  p <- clip(g + (p - g) * contrast), g the mean grey of the image;
    p <- clip(grey + (p - grey) * saturation). x (N, H, W, C), the three factors (N,), mean and std (C,).
    """

    def per_image(factor: Any) -> Any:
        return factor[:, None, None, None]

    def blend(towards: Any, pixels: Any, factor: Any) -> Any:
        return xp.clip(towards + (pixels - towards) * per_image(factor), 0, 1)

    def grey(pixels: Any) -> Any:
        if pixels.shape[3] == 1:
            return pixels
        r, g, b = (x.dtype.type(part) * pixels[..., i : i + 1] for i, part in enumerate(_LUMA))
        return r + g + b

    pixels = xp.clip((x * std + mean) * per_image(brightness), 0, 1)
    pixels = blend(grey(pixels).mean(axis=(1, 2, 3), keepdims=True), pixels, contrast)
    pixels = blend(grey(pixels), pixels, saturation)
    return ((pixels - mean) / std).astype(x.dtype)


@jitter.kernel
def _(device: Device, x: Any, brightness: Any, contrast: Any, saturation: Any, mean: Any, std: Any) -> Any:
    y = device.empty(x.shape, x.dtype)
    if y.size:
        n, h, w, c = x.shape
        block = min(1024, 32 * ceil_div(h * w, 32))
        args = (y, x, brightness, contrast, saturation, mean, std, h * w, c)
        SOURCE.launch(device, "jitter", (n, 1, 1), block, args, REAL=c_type(x.dtype, "jitter"), VEC=1)
    return y
