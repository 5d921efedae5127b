"""Changing the colours of an image by a given amount."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.data.image import pillow
from gpunn.errors import DataError, ShapeError, UsageError
from gpunn.vision.transforms._images import changed, channels, check_image, check_pillow, from_array

_GREY = (0.2989, 0.587, 0.114)  # of red, green and blue; ITU-R BT.601-7


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """The image ``img`` without colour, with ``num_output_channels`` (1 or 3) of the same numbers."""
    check_image("rgb_to_grayscale", img)
    if num_output_channels not in (1, 3):
        raise UsageError(f"rgb_to_grayscale: num_output_channels: expected 1 or 3; got {num_output_channels!r}.")
    if not isinstance(img, Tensor):
        grey = img.convert("L")
        return grey if num_output_channels == 1 else pillow().merge("RGB", (grey, grey, grey))
    _check_channels("rgb_to_grayscale", img)

    def change(x: np.ndarray) -> np.ndarray:
        grey = _grey(x) if x.shape[-3] == 3 else x
        return np.broadcast_to(grey, (*x.shape[:-3], num_output_channels, *x.shape[-2:]))

    return changed(img, change)


def _check_channels(op: str, img: Tensor) -> None:
    if img.ndim < 3 or channels(img) not in (1, 3):
        raise ShapeError(f"{op}: expected an image of 1 or 3 channels; got shape {tuple(img.shape)}.")


def _grey(x: np.ndarray) -> np.ndarray:
    """(..., 1, H, W) of (..., 3, H, W), in the same dtype."""
    parts = [
        x[..., i : i + 1, :, :] * (np.float32(w) if x.dtype.kind != "f" else x.dtype.type(w))
        for i, w in enumerate(_GREY)
    ]
    grey: np.ndarray = (parts[0] + parts[1] + parts[2]).astype(x.dtype)
    return grey


def _blend(x: np.ndarray, other: Any, factor: float) -> np.ndarray:
    """factor x + (1 - factor) other, within the dtype's range of colours."""
    most = 1.0 if x.dtype.kind == "f" else 255.0
    wide = np.float64 if x.dtype == np.float64 else np.float32
    mixed = wide(factor) * x.astype(wide) + wide(1.0 - factor) * np.asarray(other, wide)
    return np.clip(mixed, 0, most).astype(x.dtype)


def _enhanced(img: Any, kind: str, factor: float) -> Any:
    try:
        from PIL import ImageEnhance
    except ImportError as error:
        raise DataError(f"adjust_{kind.lower()} needs Pillow ({error}): pip install 'gpunn[vision]'.") from error
    return getattr(ImageEnhance, kind)(img).enhance(factor)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """The image ``img`` with its colours times ``brightness_factor``: 0 is black, 1 changes nothing."""
    check_image("adjust_brightness", img)
    factor = real_number("adjust_brightness", "brightness_factor", brightness_factor, 0)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Brightness", factor)
    return changed(img, lambda x: _blend(x, 0, factor))


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """The image ``img`` mixed with its mean grey: 0 is that grey, 1 changes nothing (``contrast_factor``)."""
    check_image("adjust_contrast", img)
    factor = real_number("adjust_contrast", "contrast_factor", contrast_factor, 0)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Contrast", factor)
    _check_channels("adjust_contrast", img)

    def change(x: np.ndarray) -> np.ndarray:
        grey = _grey(x) if x.shape[-3] == 3 else x
        wide = np.float64 if x.dtype == np.float64 else np.float32
        return _blend(x, grey.mean((-3, -2, -1), keepdims=True, dtype=wide), factor)

    return changed(img, change)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """The image ``img`` mixed with its grey: 0 has no colour, 1 changes nothing (``saturation_factor``)."""
    check_image("adjust_saturation", img)
    factor = real_number("adjust_saturation", "saturation_factor", saturation_factor, 0)
    if not isinstance(img, Tensor):
        return _enhanced(img, "Color", factor)
    _check_channels("adjust_saturation", img)
    return changed(img, lambda x: _blend(x, _grey(x), factor) if x.shape[-3] == 3 else x)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Pillow's image ``img`` with its hues shifted by ``hue_factor``, -0.5 to 0.5 of the colour circle."""
    factor = real_number("adjust_hue", "hue_factor", hue_factor, -0.5, 0.5)
    check_pillow("adjust_hue", img)
    if img.mode in ("L", "1", "I", "F"):
        return img
    hue, saturation, value = img.convert("HSV").split()
    # Bytes wrap around, as the colour circle does.
    shifted = from_array(np.asarray(hue, np.uint8) + np.uint8(int(factor * 255) % 256))
    return pillow().merge("HSV", (shifted, saturation, value)).convert(img.mode)
