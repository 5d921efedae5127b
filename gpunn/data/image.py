"""Reading one image file into bytes, with Pillow."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gpunn.data._image_file import FORMATS, read_file, too_large
from gpunn.errors import DataError, shortened

_STRIP = 1 << 16  # pixels
# Modes whose pixels do not fit into bytes: converting them clips values instead of scaling them.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(
    path: str | os.PathLike[str],
    channels: int,
    size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """An image file as (C, H, W) uint8.

    Its orientation tag is ignored, and transparency is dropped. Of an animation the first picture is taken.

    Parameters
    ----------
    path : path-like
        BMP, JPEG, PNG, PPM (PGM, PBM), TIFF or WebP, as its content says, whatever its name.
    channels : 1 or 3
        Convert to grey or to RGB.
    size : (int, int), optional
        Height and width to resize to, bilinearly and without keeping the aspect ratio. A JPEG of more pixels than
        allowed is decoded at a half, a quarter or an eighth of its size where that is not below ``size``.
    max_pixels : int, optional
        Refuse larger images. Default: what can be decoded in ten times the file and 16 MB, so that a file of some
        kilobytes cannot fill the memory. These are 1.9 million pixels and five for every four bytes of the file; in
        WebP half of that, as its decoder takes more, and in progressive JPEGs without subsampling three quarters.
        Photographs have fewer; drawings and screenshots may have more.

    Raises
    ------
    DataError
        If Pillow is not installed, or the file cannot be decoded, has too many pixels or more than 8 bits per
        channel; the message names it.
    """
    module = pillow()
    try:
        with _opened(module, path, max_pixels, size) as image:
            if image.mode in _DEEP_MODES:
                raise DataError(
                    f"{path}: expected an image of 8 bits a channel; it has more (Pillow mode {image.mode!r}). "
                    "Convert it first."
                )
            image.load()
            image.info.pop("transparency", None)  # Pillow warns about what converting drops
            mode = "L" if channels == 1 else "RGB"
            if size is None or image.size == size[::-1]:
                return _pixels(image, mode)
            if image.mode != mode:
                image = image.convert(mode)
            return _pixels(image.resize(size[::-1], module.Resampling.BILINEAR), mode)
    except DataError:
        raise
    # A damaged file raises more than OSError in a decoder: ValueError, SyntaxError, struct.error, MemoryError.
    except Exception as error:
        raise unreadable(path, error) from error


def image_size(path: str | os.PathLike[str], max_pixels: int | None = None) -> tuple[int, int]:
    """Height and width of an image file, from its header.

    Raises
    ------
    DataError
        As in :func:`read_image`.
    """
    module = pillow()
    try:
        with _opened(module, path, max_pixels, None) as image:
            return int(image.size[1]), int(image.size[0])
    except DataError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def _opened(module: Any, path: str | os.PathLike[str], most: int | None, size: tuple[int, int] | None) -> Any:
    """The image, not decoded yet, of a size that may be."""
    file = read_file(path, most)
    allowed = file.most_pixels
    image = module.open(file.data, formats=FORMATS)
    width, height = image.size
    if allowed < width * height <= 8 * allowed and size is not None and image.format == "JPEG" and file.by_rows:
        image.draft(image.mode, size[::-1])
    if image.size[0] * image.size[1] > allowed:
        raise too_large(path, allowed, width, height)
    return image


def _pixels(image: Any, mode: str) -> np.ndarray:
    """The image in a mode as (C, H, W) uint8, a strip at a time: a whole converted copy and its bytes double it."""
    width, height = image.size
    pixels = np.empty((height, width, len(mode)), np.uint8)
    rows = max(1, _STRIP // max(1, width))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip = strip if strip.mode == mode else strip.convert(mode)
        pixels[top : top + rows] = np.asarray(strip, np.uint8).reshape(-1, width, len(mode))
    return pixels.transpose(2, 0, 1)


def pillow() -> Any:
    """Pillow's module ``Image``, or an error that says how to get it."""
    try:
        # Two of the formats that are read. Without these lines Pillow loads all it has, forty, at the first of either.
        from PIL import Image, TiffImagePlugin, WebPImagePlugin

        assert TiffImagePlugin
        assert WebPImagePlugin
    except ImportError as error:
        raise DataError(
            f"Reading image files needs Pillow, which is not installed ({error}). Install it with "
            "pip install 'gpunn[vision]' or pip install pillow."
        ) from error
    return Image


def unreadable(path: str | os.PathLike[str], error: Exception) -> DataError:
    """The error for a file that could not be decoded."""
    return DataError(
        f"{shortened(path, 250)}: could not be decoded as an image ({type(error).__name__}: {shortened(error, 150)}). "
        "Replace or remove the file."
    )
