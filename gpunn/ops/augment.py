"""Changing images at random, a batch at a time on its device: shifts and mirrors, erased squares, colours.

The random numbers are drawn on the host and small (a few for each image); the images never leave their
device. These primitives are what ``gpunn.data.transforms`` is made of; nothing here is on the tape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.primitive import primitive


def _resample_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, h: int, w: int, c: int, p: int, q: int, dtype: Any = np.float32) -> dict[str, Any]:
        return {
            "x": rng.standard_normal((n, h, w, c)).astype(dtype),
            "rows": rng.integers(-2, h + 2, (n, p)),
            "columns": rng.integers(-2, w + 2, (n, q)),
            "fill": 0.5,
        }

    return [case(3, 5, 7, 2, 4, 9), case(1, 1, 1, 1, 1, 1), case(0, 4, 4, 3, 4, 4), case(2, 6, 5, 3, 6, 5, np.float64)]


@primitive(examples=_resample_examples, returns=("y",), tolerance=0)
def resample(xp: Any, x: Any, rows: Any, columns: Any, fill: float) -> Any:
    """y[n, p, q] = x[n, rows[n, p], columns[n, q]], and ``fill`` where that lies outside the image.

    x (N, H, W, C), rows (N, P) and columns (N, Q) int64; y (N, P, Q, C).
    """
    n, h, w, _ = x.shape
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    image = xp.arange(n)[:, None, None]
    y = x[image, xp.clip(rows, 0, h - 1)[:, :, None], xp.clip(columns, 0, w - 1)[:, None, :]]
    return xp.ascontiguousarray(xp.where(inside[..., None], y, x.dtype.type(fill)))


def _erase_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, h: int, w: int, c: int, size: int) -> dict[str, Any]:
        x = rng.standard_normal((n, h, w, c)).astype(np.float32)
        top, left = (rng.integers(-1, length, n) for length in (h, w))
        return {"x": x, "top": top, "left": left, "height": size, "width": size + 1, "fill": -1.0}

    return [case(3, 5, 6, 2, 3), case(2, 1, 1, 1, 1), case(0, 3, 3, 1, 2)]


@primitive(examples=_erase_examples, returns=("y",), tolerance=0)
def erase(xp: Any, x: Any, top: Any, left: Any, height: int, width: int, fill: float) -> Any:
    """x (N, H, W, C) with a rectangle of each image set to ``fill``: its corner at top, left (N,), cut at the edges."""
    row, column = xp.arange(x.shape[1])[None, :], xp.arange(x.shape[2])[None, :]
    down = (row >= top[:, None]) & (row < top[:, None] + height)
    across = (column >= left[:, None]) & (column < left[:, None] + width)
    return xp.where((down[:, :, None] & across[:, None, :])[..., None], x.dtype.type(fill), x)


_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def _jitter_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any = np.float32) -> dict[str, Any]:
        factors = [rng.uniform(0.5, 1.5, n).astype(dtype) for _ in range(3)]
        names = ("brightness", "contrast", "saturation")
        statistics = {"mean": rng.random(c).astype(dtype), "std": rng.uniform(0.2, 0.4, c).astype(dtype)}
        images = rng.standard_normal((n, 4, 5, c)).astype(dtype)
        return {"x": images, **dict(zip(names, factors, strict=True)), **statistics}

    return [case(3, 3), case(2, 1), case(0, 3), case(1, 3, np.float64)]


@primitive(examples=_jitter_examples, returns=("y",))
def jitter(xp: Any, x: Any, brightness: Any, contrast: Any, saturation: Any, mean: Any, std: Any) -> Any:
    """Pixels p = x * std + mean in [0, 1] made brighter, with more contrast, with more colour; standardised again.

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
