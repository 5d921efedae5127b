"""Changing the tones of an image, sharpness and noise: what Pillow's ImageOps does, and a blur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, ShapeError, UsageError
from gpunn.vision.transforms._adjusted import _enhanced
from gpunn.vision.transforms._images import changed, check_image, check_pillow, from_array, height_and_width


def _ops(op: str) -> Any:
    try:
        from PIL import ImageOps
    except ImportError as error:
        raise DataError(f"{op} needs Pillow ({error}): pip install 'gpunn[vision]'.") from error
    return ImageOps


def _most(x: np.ndarray) -> Any:
    """The largest colour: 1 of floats, 255 of bytes."""
    if x.dtype.kind == "b":
        raise DTypeError("an image's numbers: expected floats or integers; got bool. Convert it with .to(gpunn.uint8).")
    return x.dtype.type(1 if x.dtype.kind == "f" else 255)


def invert(img: Any) -> Any:
    """The negative of the image ``img``."""
    check_image("invert", img)
    if not isinstance(img, Tensor):
        return _ops("invert").invert(img)
    return changed(img, lambda x: _most(x) - x)


def posterize(img: Any, bits: int) -> Any:
    """The image ``img`` with ``bits`` bits, 0 to 8, of each colour left; tensors are of uint8."""
    check_image("posterize", img)
    kept = whole_number("posterize", "bits", bits, 0)
    if kept > 8:
        raise UsageError(f"posterize: bits: expected 0 to 8; got {kept}.")
    if not isinstance(img, Tensor):
        return _ops("posterize").posterize(img, kept)
    if img.dtype != np.uint8:
        raise UsageError(
            f"posterize: expected a tensor of uint8; got {img.dtype}. Convert it, or do it before ToTensor()."
        )
    return changed(img, lambda x: x & np.uint8(256 - 2 ** (8 - kept)))


def solarize(img: Any, threshold: float) -> Any:
    """The image ``img`` with all colours from ``threshold`` on inverted."""
    check_image("solarize", img)
    least = real_number("solarize", "threshold", threshold)
    if not isinstance(img, Tensor):
        return _ops("solarize").solarize(img, int(least) if least == int(least) else least)
    return changed(img, lambda x: np.where(x >= least, _most(x) - x, x))


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """Pillow's image ``img``, blurred for a ``sharpness_factor`` below 1, which changes nothing, and sharper above."""
    check_pillow("adjust_sharpness", img)
    return _enhanced(img, "Sharpness", real_number("adjust_sharpness", "sharpness_factor", sharpness_factor, 0))


def autocontrast(img: Any) -> Any:
    """Pillow's image ``img`` with each colour stretched to all of its range."""
    check_pillow("autocontrast", img)
    return _ops("autocontrast").autocontrast(img)


def equalize(img: Any) -> Any:
    """Pillow's image ``img`` with each colour's histogram made as even as can be."""
    check_pillow("equalize", img)
    return _ops("equalize").equalize(img)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """Pillow's image ``img`` with colours c, from 0 to 1, made ``gain`` c^``gamma``."""
    check_pillow("adjust_gamma", img)
    power, factor = real_number("adjust_gamma", "gamma", gamma, 0), real_number("adjust_gamma", "gain", gain)
    table = [int((255 + 1 - 1e-3) * factor * math.pow(level / 255.0, power)) for level in range(256)]
    mode = img.mode
    return img.convert("RGB").point(table * 3).convert(mode)


def gaussian_blur(img: Any, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None) -> Any:
    """Blur an image by a Gaussian filter; beyond its edges it is reflected.

    Parameters
    ----------
    img : image of Pillow, or Tensor (..., C, H, W)
    kernel_size : int or (int, int)
        Width and height of the filter, odd.
    sigma : float or (float, float), optional
        Standard deviations along both, in pixels. Default: 0.15 kernel_size + 0.35.

    Returns
    -------
    image of the same kind

    Raises
    ------
    UsageError
        If a size is even or a deviation not positive.
    ShapeError
        If the image is not larger than half of the filter.
    """
    check_image("gaussian_blur", img)
    sizes = blur_sizes("gaussian_blur", kernel_size)
    given = list(sigma) if isinstance(sigma, tuple | list) else [sigma]
    if len(given) not in (1, 2):
        raise UsageError(f"gaussian_blur: sigma: expected one number or two; got {sigma!r}.")
    spread = [
        0.15 * size + 0.35 if s is None else real_number("gaussian_blur", "sigma", s, 0, above=True)
        for size, s in zip(sizes, (given[0], given[-1]), strict=True)
    ]
    height, width = height_and_width(img)
    if height <= sizes[1] // 2 or width <= sizes[0] // 2:
        raise ShapeError(
            f"gaussian_blur: expected an image larger than half of the filter, {sizes[1]}x{sizes[0]} (height x width); "
            f"got {height}x{width}."
        )

    def change(x: np.ndarray) -> np.ndarray:
        y = x if x.dtype.kind == "f" else x.astype(np.float32)
        for axis, size, deviation in ((-1, sizes[0], spread[0]), (-2, sizes[1], spread[1])):
            border = [(0, 0)] * y.ndim
            border[axis] = (size // 2, size // 2)
            windows = sliding_window_view(np.pad(y, border, mode="reflect"), size, axis)
            y = windows @ _bell(size, deviation).astype(y.dtype)
        return y if x.dtype.kind == "f" else np.rint(y).astype(x.dtype)

    if isinstance(img, Tensor):
        return changed(img, change)
    pixels = np.asarray(img)
    planes = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    blurred = change(planes)
    return from_array(blurred if pixels.ndim == 2 else blurred.transpose(1, 2, 0))


def blur_sizes(op: str, kernel_size: Any) -> tuple[int, int]:
    """Width and height of a filter, both odd."""
    several = list(kernel_size) if isinstance(kernel_size, tuple | list) else [kernel_size]
    if len(several) not in (1, 2):
        raise UsageError(f"{op}: kernel_size: expected one size or two; got {kernel_size!r}.")
    sizes = [whole_number(op, "kernel_size", n, 1) for n in several]
    if not all(n % 2 for n in sizes):
        raise UsageError(f"{op}: kernel_size: expected odd sizes; got {kernel_size!r}.")
    return sizes[0], sizes[-1]


def _bell(size: int, sigma: float) -> np.ndarray:
    x = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    bell: np.ndarray = weights / weights.sum()
    return bell
