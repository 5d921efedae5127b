"""Transforms of colours, and erasing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._creation_shared import as_tensor
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError
from gpunn.utils.data._workers import random_stream
from gpunn.vision.transforms import functional as F
from gpunn.vision.transforms._images import channels, check_image, integer, order, uniform
from gpunn.vision.transforms._placed import interval

_Range = tuple[float, float]


class Grayscale:
    """Images without colour.

    Parameters
    ----------
    num_output_channels : 1 or 3
        Three have the same numbers.

    References
    ----------
    ITU-R BT.601-7: grey = 0.2989 red + 0.587 green + 0.114 blue.
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise UsageError(f"Grayscale: num_output_channels: expected 1 or 3; got {num_output_channels!r}.")
        self.num_output_channels = num_output_channels

    def __call__(self, img: Any) -> Any:
        """Convert ``img``."""
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"Grayscale(num_output_channels={self.num_output_channels})"


class RandomGrayscale:
    """Take the colour from some images; they keep their number of channels.

    Parameters
    ----------
    p : float
        Probability.
    """

    def __init__(self, p: float = 0.1) -> None:
        self.p = real_number("RandomGrayscale", "p", p, 0, 1)

    def __call__(self, img: Any) -> Any:
        """Convert ``img``, or leave it."""
        check_image("RandomGrayscale", img)
        return F.rgb_to_grayscale(img, channels(img)) if uniform(0, 1) < self.p else img

    def __repr__(self) -> str:
        return f"RandomGrayscale(p={self.p})"


class ColorJitter:
    """Change brightness, contrast, saturation and hue by random amounts, in a random order.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float)
        Range of the factor; one number x means from max(0, 1 - x) to 1 + x. 0 changes nothing.
    hue : float or (float, float)
        Range of the shift, in turns of the colour circle, within -0.5 to 0.5; one number x means from -x to x.
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = _jitter("brightness", brightness, 1.0, 0.0, math.inf)
        self.contrast = _jitter("contrast", contrast, 1.0, 0.0, math.inf)
        self.saturation = _jitter("saturation", saturation, 1.0, 0.0, math.inf)
        self.hue = _jitter("hue", hue, 0.0, -0.5, 0.5)

    @staticmethod
    def get_params(
        brightness: _Range | None, contrast: _Range | None, saturation: _Range | None, hue: _Range | None
    ) -> tuple[list[int], float | None, float | None, float | None, float | None]:
        """Draw an order of the four, and amounts of ``brightness``, ``contrast``, ``saturation`` and ``hue``."""
        b, c, s, h = (None if r is None else uniform(*r) for r in (brightness, contrast, saturation, hue))
        return order(4), b, c, s, h

    def __call__(self, img: Any) -> Any:
        """Change the colours of ``img``."""
        places, *amounts = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        change: tuple[Callable[[Any, float], Any], ...] = (
            F.adjust_brightness,
            F.adjust_contrast,
            F.adjust_saturation,
            F.adjust_hue,
        )
        for place in places:
            amount = amounts[place]
            if amount is not None:
                img = change[place](img, amount)
        return img

    def __repr__(self) -> str:
        return (
            f"ColorJitter(brightness={self.brightness}, contrast={self.contrast}, saturation={self.saturation}, "
            f"hue={self.hue})"
        )


def _jitter(name: str, value: Any, middle: float, least: float, most: float) -> _Range | None:
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise UsageError(f"ColorJitter: {name}: expected one number or two, from and to; got {value!r}.")
        low, high = (real_number("ColorJitter", name, v, least, most) for v in value)
        if low > high:
            raise UsageError(f"ColorJitter: {name}: expected the smaller number first; got {value!r}.")
    else:
        width = real_number("ColorJitter", name, value, 0, most)
        low, high = max(middle - width, least), middle + width
    return None if low == high == middle else (low, high)


class RandomErasing:
    """Write into a random rectangle of some tensors (..., C, H, W).

    Parameters
    ----------
    p : float
        Probability.
    scale : (float, float)
        Range of the rectangle's area, of the image's.
    ratio : (float, float)
        Range of height by width, drawn evenly in its logarithm.
    value : number, sequence of C numbers, or "random"
        What is written; "random" draws each number from a Gaussian.
    inplace : bool
        Change the tensor itself.

    References
    ----------
    Zhong and others 2017, "Random erasing data augmentation", arXiv:1708.04896.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        self.p = real_number("RandomErasing", "p", p, 0, 1)
        self.scale = interval("RandomErasing", "scale", scale)
        if self.scale[1] > 1:
            raise UsageError(f"RandomErasing: scale: expected at most 1, the whole image; got {scale!r}.")
        self.ratio = interval("RandomErasing", "ratio", ratio)
        if isinstance(value, str) and value != "random":
            raise UsageError(f"RandomErasing: value: expected a number, one a channel, or 'random'; got {value!r}.")
        if not isinstance(value, str):
            for number in value if isinstance(value, tuple | list) else [value]:
                real_number("RandomErasing", "value", number)
        self.value, self.inplace = value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: Sequence[float] | None = None
    ) -> tuple[int, int, int, int, Tensor]:
        """Draw top, left, height, width and what to write into ``img``; see the class for the ranges.

        ``value`` is a list of one number or C; None draws them.
        """
        c, h, w = img.shape[-3:]
        if value is not None and len(value) not in (1, c):
            raise ShapeError(f"RandomErasing: value: expected one number or {c}, one a channel; got {len(value)}.")
        for _ in range(10):
            area = h * w * uniform(scale[0], scale[1])
            aspect = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1])))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < h and width < w:
                if value is None:
                    written = random_stream().normal(0.0, 1.0, (c, height, width), np.float32)
                else:
                    written = np.asarray(value, np.float32).reshape(-1, 1, 1)
                return integer(h - height + 1), integer(w - width + 1), height, width, as_tensor(written)
        return 0, 0, h, w, img

    def __call__(self, img: Tensor) -> Tensor:
        """Erase a part of ``img``, or leave it."""
        if not isinstance(img, Tensor):
            raise UsageError(f"RandomErasing: expected a tensor; got {type(img).__name__}. Put it behind ToTensor().")
        if img.ndim < 3:
            raise ShapeError(f"RandomErasing: expected an image (..., C, H, W); got shape {tuple(img.shape)}.")
        if uniform(0, 1) >= self.p:
            return img
        value = self.value
        if isinstance(value, str):
            value = None
        elif not isinstance(value, tuple | list):
            value = [float(value)]
        top, left, height, width, written = self.get_params(img, self.scale, self.ratio, value)
        if written is img:  # ten parts were all too large
            return img
        return F.erase(img, top, left, height, width, written.to(img.device, img.dtype), self.inplace)

    def __repr__(self) -> str:
        return (
            f"RandomErasing(p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, "
            f"inplace={self.inplace})"
        )
