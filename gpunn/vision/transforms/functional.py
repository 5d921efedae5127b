"""What the transforms do, as functions with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._calls import explains_all
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.data.image import pillow
from gpunn.errors import UsageError
from gpunn.vision.transforms._adjusted import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    rgb_to_grayscale,
)
from gpunn.vision.transforms._converted import convert_image_dtype, normalize, pil_to_tensor, to_pil_image, to_tensor
from gpunn.vision.transforms._images import (
    changed,
    channels,
    check_image,
    check_pillow,
    from_array,
    height_and_width,
    pair,
)
from gpunn.vision.transforms._interpolation import InterpolationMode, colour, filter_of
from gpunn.vision.transforms._toned import (
    adjust_gamma,
    adjust_sharpness,
    autocontrast,
    equalize,
    gaussian_blur,
    invert,
    posterize,
    solarize,
)
from gpunn.vision.transforms._warped import affine, perspective

__all__ = [
    "InterpolationMode",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_gamma",
    "adjust_hue",
    "adjust_saturation",
    "adjust_sharpness",
    "affine",
    "autocontrast",
    "center_crop",
    "convert_image_dtype",
    "crop",
    "equalize",
    "erase",
    "five_crop",
    "gaussian_blur",
    "get_dimensions",
    "hflip",
    "invert",
    "normalize",
    "pad",
    "perspective",
    "pil_to_tensor",
    "posterize",
    "resize",
    "resized_crop",
    "rgb_to_grayscale",
    "rotate",
    "solarize",
    "ten_crop",
    "to_grayscale",
    "to_pil_image",
    "to_tensor",
    "vflip",
]


def get_dimensions(img: Any) -> list[int]:
    """[C, H, W] of the image ``img``."""
    check_image("get_dimensions", img)
    return [channels(img), *height_and_width(img)]


def _resized(height: int, width: int, size: Any, max_size: int | None) -> tuple[int, int]:
    """Height and width to resize to: those given, or the shorter edge and the other in proportion."""
    several = list(size) if isinstance(size, tuple | list) else [size]
    if len(several) == 2:
        if max_size is not None:
            raise UsageError("resize: max_size goes with one length, of the shorter edge; got size of two.")
        return pair("resize", "size", size)
    short = pair("resize", "size", size)[0]
    long = int(short * max(height, width) / min(height, width))
    if max_size is not None:
        most = whole_number("resize", "max_size", max_size, 1)
        if most <= short:
            raise UsageError(f"resize: max_size: expected more than size, {short}; got {most}.")
        if long > most:
            short, long = int(most * short / long), most
    return (long, short) if width <= height else (short, long)


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """Resize an image.

    Parameters
    ----------
    img : image of Pillow, or Tensor (..., C, H, W)
    size : int or (int, int)
        Length of the shorter edge, or height and width.
    interpolation : InterpolationMode
    max_size : int, optional
        Of the longer edge, if ``size`` is one length.
    antialias : bool
        Only True for tensors that are made smaller: Pillow's filters widen as the image shrinks.

    Returns
    -------
    image of the same kind
    """
    check_image("resize", img)
    height, width = height_and_width(img)
    wanted = _resized(height, width, size, max_size)
    if wanted == (height, width):
        return img
    resampling = filter_of("resize", interpolation)
    if not isinstance(img, Tensor):
        return img.resize(wanted[::-1], resampling)
    if resampling == pillow().Resampling.NEAREST:
        rows, columns = (
            (np.arange(n) * (was / n)).astype(np.int64) for n, was in zip(wanted, (height, width), strict=True)
        )
        return changed(img, lambda x: x[..., rows[:, None], columns])
    if not antialias and (wanted[0] < height or wanted[1] < width):
        raise UsageError("resize: antialias: expected True for a tensor that is made smaller; got False.")

    def change(x: np.ndarray) -> np.ndarray:
        image = pillow().fromarray
        planes = [
            np.asarray(image(plane.astype(np.float32)).resize(wanted[::-1], resampling))
            for plane in x.reshape(-1, height, width)
        ]
        y = np.stack(planes).reshape(*x.shape[:-2], *wanted)
        if x.dtype.kind != "f":  # bicubic overshoots
            y = np.clip(np.rint(y), *((0, 255) if x.dtype == np.uint8 else (-np.inf, np.inf)))
        return y.astype(x.dtype)

    return changed(img, change)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """``height`` x ``width`` of ``img`` from row ``top`` and column ``left`` on; 0 where there is no image."""
    check_image("crop", img)
    top, left = whole_number("crop", "top", top), whole_number("crop", "left", left)
    height, width = whole_number("crop", "height", height, 1), whole_number("crop", "width", width, 1)
    if not isinstance(img, Tensor):
        return img.crop((left, top, left + width, top + height))
    h, w = height_and_width(img)
    outside = [max(-left, 0), max(-top, 0), max(left + width - w, 0), max(top + height - h, 0)]
    if any(outside):
        img = pad(img, outside)
    top, left = top + outside[1], left + outside[0]
    return img[..., top : top + height, left : left + width]


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of ``img``, of ``output_size`` (an int or height and width); 0 around an image that is smaller."""
    check_image("center_crop", img)
    height, width = pair("center_crop", "output_size", output_size)
    h, w = height_and_width(img)
    if height > h or width > w:
        missing = max(height - h, 0), max(width - w, 0)
        img = pad(img, [missing[1] // 2, missing[0] // 2, (missing[1] + 1) // 2, (missing[0] + 1) // 2])
        h, w = height_and_width(img)
    return crop(img, round((h - height) / 2), round((w - width) / 2), height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """``crop(img, top, left, height, width)``, resized to ``size`` with ``interpolation`` and ``antialias``."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def borders(op: str, padding: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of one number, of (sides, top and bottom), or of all four."""
    several = list(padding) if isinstance(padding, tuple | list) else [padding]
    if len(several) not in (1, 2, 4):
        raise UsageError(f"{op}: padding: expected 1, 2 or 4 numbers; got {padding!r}.")
    numbers = [whole_number(op, "padding", n) for n in several]
    left, top = numbers[0], numbers[1 % len(numbers)]
    return left, top, numbers[2 % len(numbers)], numbers[3 % len(numbers)]


def pad(img: Any, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Put a border around an image.

    Parameters
    ----------
    img : image of Pillow, or Tensor (..., C, H, W)
    padding : int, (sides, top and bottom), or (left, top, right, bottom)
        A negative number cuts off.
    fill : number, or one for each channel
        For a constant border.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}

    Returns
    -------
    image of the same kind
    """
    check_image("pad", img)
    left, top, right, bottom = borders("pad", padding)
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise UsageError(
            f"pad: padding_mode: expected 'constant', 'edge', 'reflect' or 'symmetric'; got {padding_mode!r}."
        )
    h, w = height_and_width(img)
    if min(left, top, right, bottom) < 0:
        y, x = max(-top, 0), max(-left, 0)
        img = crop(img, y, x, h - y - max(-bottom, 0), w - x - max(-right, 0))
        left, top, right, bottom = (max(n, 0) for n in (left, top, right, bottom))
        h, w = height_and_width(img)
    if isinstance(img, Tensor):
        around = [(0, 0)] * (img.ndim - 2) + [(top, bottom), (left, right)]
        if padding_mode != "constant":
            return changed(img, lambda x: np.pad(x, around, padding_mode))  # type: ignore[call-overload]
        value = real_number("pad", "fill", fill[0] if isinstance(fill, tuple | list) and len(fill) == 1 else fill)
        return changed(img, lambda x: np.pad(x, around, constant_values=x.dtype.type(value)))
    if padding_mode != "constant":
        array = np.asarray(img)
        around = [(top, bottom), (left, right), (0, 0)][: array.ndim]
        return _with_palette(from_array(np.pad(array, around, padding_mode)), img)  # type: ignore[call-overload]
    bordered = pillow().new(img.mode, (w + left + right, h + top + bottom), colour("pad", fill, img))
    bordered = _with_palette(bordered, img)
    bordered.paste(img, (left, top))
    return bordered


def _with_palette(image: Any, source: Any) -> Any:
    if source.mode == "P":
        image = image if image.mode == "P" else pillow().fromarray(np.asarray(image), "P")
        image.putpalette(source.getpalette())
    return image


def five_crop(img: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """Parts of the image ``img`` of ``size`` (height, width): its corners, left before right, and its middle."""
    check_image("five_crop", img)
    height, width = pair("five_crop", "size", size)
    h, w = height_and_width(img)
    if height > h or width > w:
        raise UsageError(
            f"five_crop: size: expected at most {h}x{w}, the image (height x width); got {height}x{width}."
        )
    corners = [crop(img, top, left, height, width) for top in (0, h - height) for left in (0, w - width)]
    return (*corners, center_crop(img, (height, width)))


def ten_crop(img: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """:func:`five_crop` with ``size`` of ``img``, and of its mirror image (with ``vertical_flip`` upside down)."""
    check_image("ten_crop", img)
    return (*five_crop(img, size), *five_crop(vflip(img) if vertical_flip else hflip(img), size))


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """:func:`rgb_to_grayscale` of Pillow's image ``img``, with ``num_output_channels`` of the same numbers."""
    check_pillow("to_grayscale", img)
    return rgb_to_grayscale(img, num_output_channels)


def hflip(img: Any) -> Any:
    """The image ``img``, left and right exchanged."""
    check_image("hflip", img)
    if isinstance(img, Tensor):
        return changed(img, lambda x: x[..., ::-1])
    return img.transpose(pillow().Transpose.FLIP_LEFT_RIGHT)


def vflip(img: Any) -> Any:
    """The image ``img``, upside down."""
    check_image("vflip", img)
    if isinstance(img, Tensor):
        return changed(img, lambda x: x[..., ::-1, :])
    return img.transpose(pillow().Transpose.FLIP_TOP_BOTTOM)


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[int] | None = None,
    fill: Any = None,
) -> Any:
    """Turn Pillow's image ``img`` by ``angle`` degrees counterclockwise.

    Parameters
    ----------
    img : image of Pillow
    angle : float
    interpolation : InterpolationMode
        Nearest, bilinear or bicubic.
    expand : bool
        Make the result as large as the turned image.
    center : (int, int), optional
        Column and row to turn around. Default: the middle.
    fill : number, or one for each channel, optional
        Where there is no image. Default 0.

    Returns
    -------
    image of Pillow
    """
    check_pillow("rotate", img)
    turn = real_number("rotate", "angle", angle)
    around = None if center is None else (center[0], center[1])
    filled = colour("rotate", fill, img)
    return img.rotate(turn, filter_of("rotate", interpolation), expand, around, fillcolor=filled)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """The tensor ``img`` (..., C, H, W) with ``v`` in the ``h`` x ``w`` part at row ``i`` and column ``j``.

    Parameters
    ----------
    img : Tensor
    i, j, h, w : int
    v : Tensor or number
        What broadcasts to (..., C, h, w).
    inplace : bool
        Change ``img`` itself.
    """
    if not isinstance(img, Tensor):
        raise UsageError(f"erase: expected a tensor; got {type(img).__name__}. Put ToTensor() before it.")
    y = img if inplace else img.detach().clone()
    y[..., i : i + h, j : j + w] = v
    return y


explains_all(globals())
