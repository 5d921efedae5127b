"""Pillow's filters and colours, by torchvision's names."""

from __future__ import annotations

import enum
from typing import Any

from gpunn._shared.numbers import real_number
from gpunn.data.image import pillow
from gpunn.errors import UsageError
from gpunn.vision.transforms._images import channels


class InterpolationMode(enum.Enum):
    """How resizing and rotating find the colour between pixels; Pillow's filter of the same name is used."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def filter_of(op: str, interpolation: Any) -> Any:
    """Pillow's filter; its numbers are taken too."""
    filters = pillow().Resampling
    if isinstance(interpolation, InterpolationMode):
        return filters[interpolation.name]
    try:
        return filters(interpolation)
    except ValueError as error:
        raise UsageError(f"{op}: interpolation: expected an InterpolationMode; got {interpolation!r}.") from error


def colour(op: str, fill: Any, image: Any) -> Any:
    """Pillow's colour: a number for each channel of ``image``, of one number or as many."""
    number = channels(image)
    several = [0] if fill is None else list(fill) if isinstance(fill, tuple | list) else [fill]
    if len(several) not in (1, number):
        raise UsageError(f"{op}: fill: expected one number or {number}, one a channel; got {fill!r}.")
    values = [real_number(op, "fill", v) for v in several * (number if len(several) == 1 else 1)]
    whole = values if image.mode == "F" else [int(v) for v in values]
    return whole[0] if number == 1 else tuple(whole)
