"""Reading one image file into bytes, with Pillow."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gpunn.errors import DataError

# Modes whose pixels do not fit into bytes: converting them clips values instead of scaling them.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(path: str | os.PathLike[str], channels: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image file as (C, H, W) uint8.

    Its orientation tag is ignored, and transparency is dropped.

    Parameters
    ----------
    path : path-like
        PNG, JPEG or whatever Pillow reads.
    channels : 1 or 3
        Convert to grey or to RGB.
    size : (int, int), optional
        Height and width to resize to, bilinearly and without keeping the aspect ratio.

    Raises
    ------
    DataError
        If Pillow is not installed, or the file cannot be decoded or has more than 8 bits per channel;
        the message names it.
    """
    module = pillow()
    _check_there(path)
    try:
        with module.open(path) as image:
            if image.mode in _DEEP_MODES:
                raise DataError(
                    f"{path}: expected an image of 8 bits a channel; it has more (Pillow mode {image.mode!r}). "
                    "Convert it first."
                )
            if "transparency" in image.info:
                image = image.convert("RGBA")  # straight to RGB or grey, Pillow warns about what it drops
            image = image.convert("L" if channels == 1 else "RGB")
            if size is not None and image.size != size[::-1]:
                image = image.resize(size[::-1], module.Resampling.BILINEAR)
            pixels = np.asarray(image, np.uint8).reshape(*image.size[::-1], channels)
    except DataError:
        raise
    # A damaged file raises more than OSError in a decoder: ValueError, SyntaxError, struct.error.
    except Exception as error:
        raise unreadable(path, error) from error
    return pixels.transpose(2, 0, 1)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of an image file, from its header.

    Raises
    ------
    DataError
        As in :func:`read_image`.
    """
    module = pillow()
    _check_there(path)
    try:
        with module.open(path) as image:
            return int(image.size[1]), int(image.size[0])
    except DataError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def _check_there(path: str | os.PathLike[str]) -> None:
    if not os.path.isfile(path):
        raise DataError(f"expected an image; there is no file {path}.")


def pillow() -> Any:
    """Pillow's module ``Image``, or an error that says how to get it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            f"Reading image files needs Pillow, which is not installed ({error}). Install it with "
            "pip install 'gpunn[demo]' or pip install pillow."
        ) from error
    return Image


def unreadable(path: str | os.PathLike[str], error: Exception) -> DataError:
    """The error for a file that could not be decoded."""
    return DataError(
        f"{path}: could not be decoded as an image ({type(error).__name__}: {error}). Replace or remove the file."
    )
