"""Transforms of size and place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._shared.numbers import real_number
from gpunn.errors import ShapeError, UsageError
from gpunn.vision.transforms import functional as F
from gpunn.vision.transforms._images import check_image, height_and_width, integer, pair, uniform
from gpunn.vision.transforms.functional import InterpolationMode

_Size = int | Sequence[int]
_Filter = InterpolationMode | int


class Resize:
    """Resize images.

    Parameters
    ----------
    size : int or (int, int)
        Length of the shorter edge, the other in proportion; or height and width.
    interpolation : InterpolationMode
    max_size : int, optional
        Of the longer edge, if ``size`` is one length.
    antialias : bool
        Of tensors; Pillow's images always are.
    """

    def __init__(
        self,
        size: _Size,
        interpolation: _Filter = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        pair("Resize", "size", size)
        self.size, self.interpolation, self.max_size, self.antialias = size, interpolation, max_size, antialias

    def __call__(self, img: Any) -> Any:
        """Resize ``img``."""
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self) -> str:
        return (
            f"Resize(size={self.size}, interpolation={_value(self.interpolation)}, max_size={self.max_size}, "
            f"antialias={self.antialias})"
        )


class CenterCrop:
    """The middle of images.

    Parameters
    ----------
    size : int or (int, int)
        Height and width; around smaller images there is 0.
    """

    def __init__(self, size: _Size) -> None:
        self.size = pair("CenterCrop", "size", size)

    def __call__(self, img: Any) -> Any:
        """Crop ``img``."""
        return F.center_crop(img, self.size)

    def __repr__(self) -> str:
        return f"CenterCrop(size={self.size})"


class Pad:
    """Put a border around images.

    Parameters
    ----------
    padding : int, (sides, top and bottom), or (left, top, right, bottom)
    fill : number, or one for each channel
        For a constant border.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
    """

    def __init__(self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> None:
        F.borders("Pad", padding)
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def __call__(self, img: Any) -> Any:
        """Put a border around ``img``."""
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return f"Pad(padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode})"


class RandomCrop:
    """A part of images at a random place.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the part.
    padding : int or sequence, optional
        Border that is put around first, as in :class:`Pad`.
    pad_if_needed : bool
        Pad images that are smaller than ``size``.
    fill, padding_mode
        As in :class:`Pad`.

    Raises
    ------
    ShapeError
        When called with an image smaller than ``size``.

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.2 (pad 4, crop 32).
    """

    def __init__(
        self,
        size: _Size,
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = pair("RandomCrop", "size", size)
        if padding is not None:
            F.borders("RandomCrop", padding)
        self.padding, self.pad_if_needed = padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Draw a place: top, left, height and width of a part of ``img`` of ``output_size``."""
        check_image("RandomCrop", img)
        h, w = height_and_width(img)
        height, width = output_size
        if h < height or w < width:
            raise ShapeError(
                f"RandomCrop: expected an image of at least {height}x{width} (height x width); got {h}x{w}. "
                "Give padding or pad_if_needed=True, or Resize first."
            )
        return integer(h - height + 1), integer(w - width + 1), height, width

    def __call__(self, img: Any) -> Any:
        """Crop ``img``."""
        check_image("RandomCrop", img)
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        h, w = height_and_width(img)
        if self.pad_if_needed and w < self.size[1]:
            img = F.pad(img, [self.size[1] - w, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and h < self.size[0]:
            img = F.pad(img, [0, self.size[0] - h], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size}, padding={self.padding})"


class RandomResizedCrop:
    """A random part of images, resized.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result; one length makes a square.
    scale : (float, float)
        Range of the part's area, of the image's.
    ratio : (float, float)
        Range of width by height, drawn evenly in its logarithm.
    interpolation : InterpolationMode
    antialias : bool
        As in :class:`Resize`.

    References
    ----------
    Szegedy and others 2014, "Going deeper with convolutions", arXiv:1409.4842, section 6.
    """

    def __init__(
        self,
        size: _Size,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: _Filter = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        self.size = pair("RandomResizedCrop", "size", size)
        self.scale = interval("RandomResizedCrop", "scale", scale)
        self.ratio = interval("RandomResizedCrop", "ratio", ratio)
        self.interpolation, self.antialias = interpolation, antialias

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """Draw a part of ``img``: top, left, height and width, with its area and sides in ``scale`` and ``ratio``."""
        check_image("RandomResizedCrop", img)
        h, w = height_and_width(img)
        for _ in range(10):
            area = h * w * uniform(scale[0], scale[1])
            aspect = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1])))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= w and 0 < height <= h:
                return integer(h - height + 1), integer(w - width + 1), height, width
        # The largest part in the middle that has such sides.
        aspect = min(max(w / h, min(ratio)), max(ratio))
        width = w if w / h <= max(ratio) else round(h * aspect)
        height = h if w / h >= min(ratio) else round(w / aspect)
        return (h - height) // 2, (w - width) // 2, height, width

    def __call__(self, img: Any) -> Any:
        """Crop and resize ``img``."""
        part = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *part, self.size, self.interpolation, self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple(round(v, 4) for v in range_) for range_ in (self.scale, self.ratio))
        return (
            f"RandomResizedCrop(size={self.size}, scale={scale}, ratio={ratio}, "
            f"interpolation={_value(self.interpolation)}, antialias={self.antialias})"
        )


class _RandomFlip:
    def __init__(self, p: float = 0.5) -> None:
        self.p = real_number(type(self).__name__, "p", p, 0, 1)

    def __call__(self, img: Any) -> Any:
        """Flip ``img``, or leave it."""
        check_image(type(self).__name__, img)
        return self._flip(img) if uniform(0, 1) < self.p else img

    def _flip(self, img: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(_RandomFlip):
    """Exchange left and right of some images.

    Parameters
    ----------
    p : float
        Probability.
    """

    def _flip(self, img: Any) -> Any:
        return F.hflip(img)


class RandomVerticalFlip(_RandomFlip):
    """Turn some images upside down.

    Parameters
    ----------
    p : float
        Probability.
    """

    def _flip(self, img: Any) -> Any:
        return F.vflip(img)


class RandomRotation:
    """Turn Pillow's images by a random angle.

    Parameters
    ----------
    degrees : float or (float, float)
        Range of the angle; one number d means from -d to d.
    interpolation : InterpolationMode
        Nearest, bilinear or bicubic.
    expand : bool
        Make the result as large as the turned image.
    center : (int, int), optional
        Column and row to turn around. Default: the middle.
    fill : number, or one for each channel
        Where there is no image.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: _Filter = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[int] | None = None,
        fill: Any = 0,
    ) -> None:
        if not isinstance(degrees, tuple | list):
            most = real_number("RandomRotation", "degrees", degrees, 0)
            degrees = (-most, most)
        self.degrees = interval("RandomRotation", "degrees", degrees, -math.inf)
        if center is not None and len(center) != 2:
            raise UsageError(f"RandomRotation: center: expected (column, row); got {center!r}.")
        self.interpolation, self.expand, self.center, self.fill = interpolation, expand, center, fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """Draw an angle from the range ``degrees``."""
        return uniform(degrees[0], degrees[1])

    def __call__(self, img: Any) -> Any:
        """Turn ``img``."""
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        filled = "" if self.fill is None else f", fill={self.fill}"
        return (
            f"RandomRotation(degrees={list(self.degrees)}, interpolation={_value(self.interpolation)}, "
            f"expand={self.expand}{center}{filled})"
        )


def interval(op: str, name: str, given: Any, least: float = 0.0) -> tuple[float, float]:
    """Two numbers, the smaller one first; UsageError otherwise."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError(f"{op}: {name}: expected two numbers, from and to; got {given!r}.")
    low, high = (real_number(op, name, v, least, above=least == 0) for v in given)
    if low > high:
        raise UsageError(f"{op}: {name}: expected the smaller number first; got {given!r}.")
    return low, high


def _value(interpolation: _Filter) -> Any:
    return interpolation.value if isinstance(interpolation, InterpolationMode) else interpolation
