"""Transforms that vary tones, sharpness and position, and those that make several images of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._shared.numbers import real_number, whole_number
from gpunn.errors import UsageError
from gpunn.vision.transforms import functional as F
from gpunn.vision.transforms._images import check_image, check_pillow, integer, pair, uniform
from gpunn.vision.transforms._interpolation import InterpolationMode
from gpunn.vision.transforms._placed import interval
from gpunn.vision.transforms._toned import blur_sizes

_Size = int | Sequence[int]
_Filter = InterpolationMode | int


class _Sometimes:
    """Change some images, or leave them."""

    p: float

    def __call__(self, img: Any) -> Any:
        """Change ``img``, or leave it."""
        check_image(type(self).__name__, img)
        return self._change(img) if uniform(0, 1) < self.p else img

    def _change(self, img: Any) -> Any:
        raise NotImplementedError


class RandomInvert(_Sometimes):
    """Make negatives of some images.

    Parameters
    ----------
    p : float
        Probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = real_number("RandomInvert", "p", p, 0, 1)

    def _change(self, img: Any) -> Any:
        return F.invert(img)

    def __repr__(self) -> str:
        return f"RandomInvert(p={self.p})"


class RandomPosterize(_Sometimes):
    """Leave fewer bits of the colours of some images.

    Parameters
    ----------
    bits : int
        How many, 0 to 8.
    p : float
        Probability.
    """

    def __init__(self, bits: int, p: float = 0.5) -> None:
        self.bits = whole_number("RandomPosterize", "bits", bits, 0)
        self.p = real_number("RandomPosterize", "p", p, 0, 1)

    def _change(self, img: Any) -> Any:
        return F.posterize(img, self.bits)

    def __repr__(self) -> str:
        return f"RandomPosterize(bits={self.bits},p={self.p})"


class RandomSolarize(_Sometimes):
    """Invert the light colours of some images.

    Parameters
    ----------
    threshold : float
        From this one on; of bytes, or of a tensor's numbers.
    p : float
        Probability.
    """

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        real_number("RandomSolarize", "threshold", threshold)
        self.threshold = threshold
        self.p = real_number("RandomSolarize", "p", p, 0, 1)

    def _change(self, img: Any) -> Any:
        return F.solarize(img, self.threshold)

    def __repr__(self) -> str:
        return f"RandomSolarize(threshold={self.threshold},p={self.p})"


class RandomAdjustSharpness(_Sometimes):
    """Blur or sharpen some of Pillow's images.

    Parameters
    ----------
    sharpness_factor : float
        0 is blurred, 1 the image, 2 sharper.
    p : float
        Probability.
    """

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        real_number("RandomAdjustSharpness", "sharpness_factor", sharpness_factor, 0)
        self.sharpness_factor = sharpness_factor
        self.p = real_number("RandomAdjustSharpness", "p", p, 0, 1)

    def _change(self, img: Any) -> Any:
        return F.adjust_sharpness(img, self.sharpness_factor)

    def __repr__(self) -> str:
        return f"RandomAdjustSharpness(sharpness_factor={self.sharpness_factor},p={self.p})"


class RandomAutocontrast(_Sometimes):
    """Stretch each colour of some of Pillow's images to all of its range.

    Parameters
    ----------
    p : float
        Probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = real_number("RandomAutocontrast", "p", p, 0, 1)

    def _change(self, img: Any) -> Any:
        return F.autocontrast(img)

    def __repr__(self) -> str:
        return f"RandomAutocontrast(p={self.p})"


class RandomEqualize(_Sometimes):
    """Make the histograms of some of Pillow's images even.

    Parameters
    ----------
    p : float
        Probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = real_number("RandomEqualize", "p", p, 0, 1)

    def _change(self, img: Any) -> Any:
        return F.equalize(img)

    def __repr__(self) -> str:
        return f"RandomEqualize(p={self.p})"


class GaussianBlur:
    """Blur images by a Gaussian filter of random width.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Width and height of the filter, odd.
    sigma : float or (float, float)
        Range of the standard deviation, in pixels; one number is that.

    References
    ----------
    Chen, Kornblith, Norouzi, Hinton 2020, arXiv:2002.05709, appendix A.
    """

    def __init__(self, kernel_size: _Size, sigma: float | Sequence[float] = (0.1, 2.0)) -> None:
        self.kernel_size = blur_sizes("GaussianBlur", kernel_size)
        given = sigma if isinstance(sigma, tuple | list) else (sigma, sigma)
        self.sigma = interval("GaussianBlur", "sigma", given)

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """Draw a deviation from ``sigma_min`` to ``sigma_max``."""
        return uniform(sigma_min, sigma_max)

    def __call__(self, img: Any) -> Any:
        """Blur ``img``."""
        sigma = self.get_params(*self.sigma)
        return F.gaussian_blur(img, self.kernel_size, (sigma, sigma))

    def __repr__(self) -> str:
        return f"GaussianBlur(kernel_size={self.kernel_size}, sigma={self.sigma})"


class FiveCrop:
    """The four corners and the middle of an image, a tuple of five.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of each.
    """

    def __init__(self, size: _Size) -> None:
        self.size = pair("FiveCrop", "size", size)

    def __call__(self, img: Any) -> Any:
        """Cut ``img``."""
        return F.five_crop(img, self.size)

    def __repr__(self) -> str:
        return f"FiveCrop(size={self.size})"


class TenCrop:
    """The four corners and the middle of an image and of its mirror image, a tuple of ten.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of each.
    vertical_flip : bool
        Upside down instead of left and right.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", section 4.1.
    """

    def __init__(self, size: _Size, vertical_flip: bool = False) -> None:
        self.size, self.vertical_flip = pair("TenCrop", "size", size), vertical_flip

    def __call__(self, img: Any) -> Any:
        """Cut ``img``."""
        return F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self) -> str:
        return f"TenCrop(size={self.size}, vertical_flip={self.vertical_flip})"


class RandomAffine:
    """Turn, move, scale and shear Pillow's images by random amounts.

    Parameters
    ----------
    degrees : float or (float, float)
        Range of the angle; one number d means from -d to d.
    translate : (float, float), optional
        The most that images are moved to the sides, and up and down, of their width and height.
    scale : (float, float), optional
        Range of the factor.
    shear : float or sequence of 2 or 4 floats, optional
        Range of the angle along x, in degrees, or along x and y; one number d means from -d to d.
    interpolation : InterpolationMode
        Nearest, bilinear or bicubic.
    fill : number, or one for each channel
        Where there is no image.
    center : (int, int), optional
        Column and row to turn around. Default: the middle.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: _Filter = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[int] | None = None,
    ) -> None:
        op = "RandomAffine"
        self.degrees = _around(op, "degrees", degrees)
        self.translate = translate
        if translate is not None:
            if len(translate) != 2:
                raise UsageError(f"{op}: translate: expected two numbers; got {translate!r}.")
            for part in translate:
                real_number(op, "translate", part, 0, 1)
        self.scale = None if scale is None else interval(op, "scale", scale)
        self.shear: tuple[float, ...] | None = None
        if shear is not None:
            several = list(shear) if isinstance(shear, tuple | list) else None
            if several is not None and len(several) == 4:
                self.shear = (*_around(op, "shear", several[:2]), *_around(op, "shear", several[2:]))
            else:
                self.shear = _around(op, "shear", shear)
        if center is not None and len(center) != 2:
            raise UsageError(f"{op}: center: expected (column, row); got {center!r}.")
        self.interpolation, self.fill, self.center = interpolation, fill, center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Draw an angle, a move, a factor and two shears, for an image of ``img_size`` (width, height)."""
        angle = uniform(degrees[0], degrees[1])
        moved = (0, 0)
        if translate is not None:
            most = [part * length for part, length in zip(translate, img_size, strict=True)]
            moved = (round(uniform(-most[0], most[0])), round(uniform(-most[1], most[1])))
        scale = 1.0 if scale_ranges is None else uniform(scale_ranges[0], scale_ranges[1])
        shear = (0.0, 0.0)
        if shears is not None:
            shear = (uniform(shears[0], shears[1]), uniform(shears[2], shears[3]) if len(shears) == 4 else 0.0)
        return angle, moved, scale, shear

    def __call__(self, img: Any) -> Any:
        """Change ``img``."""
        check_pillow("RandomAffine", img)
        drawn = self.get_params(self.degrees, self.translate, self.scale, self.shear, img.size)
        return F.affine(img, *drawn, interpolation=self.interpolation, fill=self.fill, center=self.center)

    def __repr__(self) -> str:
        parts = [f"degrees={list(self.degrees)}"]
        parts += [f"{name}={v}" for name, v in (("translate", self.translate), ("scale", self.scale)) if v is not None]
        parts += [] if self.shear is None else [f"shear={list(self.shear)}"]
        if self.interpolation is not InterpolationMode.NEAREST:
            parts.append(f"interpolation={getattr(self.interpolation, 'value', self.interpolation)}")
        parts += [] if self.fill == 0 else [f"fill={self.fill}"]
        parts += [] if self.center is None else [f"center={self.center}"]
        return f"RandomAffine({', '.join(parts)})"


class RandomPerspective(_Sometimes):
    """Tilt some of Pillow's images: their corners move inwards by random amounts.

    Parameters
    ----------
    distortion_scale : float
        The most that they move, of half of the image; 0 to 1.
    p : float
        Probability.
    interpolation : InterpolationMode
        Nearest, bilinear or bicubic.
    fill : number, or one for each channel
        Where there is no image.
    """

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: _Filter = InterpolationMode.BILINEAR,
        fill: Any = 0,
    ) -> None:
        self.distortion_scale = real_number("RandomPerspective", "distortion_scale", distortion_scale, 0, 1)
        self.p = real_number("RandomPerspective", "p", p, 0, 1)
        self.interpolation, self.fill = interpolation, fill

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list[list[int]], list[list[int]]]:
        """Draw where the corners of an image of ``width`` and ``height`` go: their places before, and after."""
        right, bottom = width - 1, height - 1
        across, down = int(distortion_scale * (width // 2)) + 1, int(distortion_scale * (height // 2)) + 1
        start = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
        end = [[abs(x - integer(across)), abs(y - integer(down))] for x, y in start]
        return start, end

    def _change(self, img: Any) -> Any:
        check_pillow("RandomPerspective", img)
        corners = self.get_params(img.width, img.height, self.distortion_scale)
        return F.perspective(img, *corners, self.interpolation, self.fill)

    def __repr__(self) -> str:
        return f"RandomPerspective(p={self.p})"


def _around(op: str, name: str, given: Any) -> tuple[float, float]:
    """A range; one number is taken for both sides of 0."""
    if isinstance(given, tuple | list):
        return interval(op, name, given, -math.inf)
    most = real_number(op, name, given, 0)
    return (-most if most else 0.0), most
