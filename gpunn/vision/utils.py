"""Many images in one: grids, and files of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._calls import explains_all
from gpunn._creation_shared import as_tensor
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.data.image import pillow
from gpunn.errors import ShapeError, UsageError

__all__ = ["make_grid", "save_image"]


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images side by side in one.

    Parameters
    ----------
    tensor : Tensor (N, C, H, W), or a list of images (C, H, W)
        Also one image, (C, H, W) or (H, W). One channel becomes three.
    nrow : int
        Images in a row.
    padding : int
        Pixels between them and around.
    normalize : bool
        Shift and scale to the range 0 to 1.
    value_range : (float, float), optional
        What becomes 0 and 1. Default: the least and the greatest number.
    scale_each : bool
        Each image by its own range.
    pad_value : float
        Of the pixels between.

    Returns
    -------
    Tensor (3 or C, height, width)
        On the device of the images. A single image comes as it is, without a border.

    Raises
    ------
    UsageError, ShapeError
        If these are no images, or of different sizes.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.vision.utils import make_grid
    >>> make_grid(gpunn.zeros(6, 1, 28, 28), nrow=4).shape
    (3, 62, 122)
    """
    images = [tensor] if isinstance(tensor, Tensor) else list(tensor)
    for image in images:
        if not isinstance(image, Tensor):
            raise UsageError(f"make_grid: expected tensors; got {type(image).__name__}. Put ToTensor() before it.")
    across, gap = whole_number("make_grid", "nrow", nrow, 1), whole_number("make_grid", "padding", padding, 0)
    if not images or len({tuple(image.shape) for image in images}) > 1:
        raise ShapeError(
            f"make_grid: expected images of one size; got {sorted({tuple(i.shape) for i in images})}. Resize them."
        )
    pixels: np.ndarray = images[0].detach().cpu().numpy()
    if not isinstance(tensor, Tensor):
        pixels = np.stack([image.detach().cpu().numpy() for image in images])
    if not 2 <= pixels.ndim <= 4:
        raise ShapeError(f"make_grid: expected (N, C, H, W), (C, H, W) or (H, W); got shape {pixels.shape}.")
    pixels = pixels.reshape(*(1,) * (4 - pixels.ndim), *pixels.shape)
    if pixels.shape[1] == 1:
        pixels = np.repeat(pixels, 3, axis=1)
    if not len(pixels):
        raise ShapeError("make_grid: expected at least one image; got none.")
    if normalize:
        pixels = _scaled(pixels, value_range, scale_each)
    return as_tensor(_laid_out(pixels, across, gap, real_number("make_grid", "pad_value", pad_value))).to(
        images[0].device
    )


def _scaled(pixels: np.ndarray, value_range: Any, each: bool) -> np.ndarray:
    if pixels.dtype.kind != "f":
        raise UsageError(f"make_grid: normalize: expected floating images; got {pixels.dtype}. Convert with .float().")
    axes = (1, 2, 3) if each else None
    if value_range is None:
        low, high = pixels.min(axes, keepdims=True), pixels.max(axes, keepdims=True)
    else:
        if not isinstance(value_range, tuple | list) or len(value_range) != 2:
            raise UsageError(f"make_grid: value_range: expected (least, greatest); got {value_range!r}.")
        low, high = (pixels.dtype.type(real_number("make_grid", "value_range", v)) for v in value_range)
    # Where all numbers are the same, torchvision divides by 1e-5 as well.
    scaled: np.ndarray = (np.clip(pixels, low, high) - low) / np.maximum(high - low, pixels.dtype.type(1e-5))
    return scaled


def _laid_out(pixels: np.ndarray, across: int, gap: int, value: float) -> np.ndarray:
    n, c, h, w = pixels.shape
    if n == 1:
        return pixels[0]
    columns = min(across, n)
    rows = math.ceil(n / columns)
    grid = np.full((c, rows * (h + gap) + gap, columns * (w + gap) + gap), value, pixels.dtype)
    for number, image in enumerate(pixels):
        top, left = (
            place * (length + gap) + gap for place, length in zip(divmod(number, columns), (h, w), strict=True)
        )
        grid[:, top : top + h, left : left + w] = image
    return grid


def save_image(
    tensor: Tensor | Sequence[Tensor], fp: str | os.PathLike[str] | Any, format: str | None = None, **kwargs: Any
) -> None:
    """Write images, side by side, to a file.

    Parameters
    ----------
    tensor : Tensor or list of Tensors
        As of :func:`make_grid`; numbers from 0 to 1, others are cut off.
    fp : path-like or open binary file
    format : str, optional
        Pillow's name of it. Default: by the end of the file's name.
    **kwargs
        As of :func:`make_grid`.

    Raises
    ------
    UsageError, ShapeError
        As of :func:`make_grid`, or if the format is unknown.
    """
    image = pillow()
    grid = make_grid(tensor, **kwargs).cpu().numpy()
    pixels = np.clip(grid * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    try:
        image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(fp, format=format)
    except (KeyError, ValueError) as error:  # Pillow's for a format that it does not know
        raise UsageError(
            f"save_image: expected a format that Pillow writes, such as a name ending in .png; got fp {fp!r}, "
            f"format {format!r}."
        ) from error


explains_all(globals())
