"""Moving, turning, scaling and tilting Pillow's images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._shared.numbers import real_number
from gpunn.data.image import pillow
from gpunn.errors import UsageError
from gpunn.vision.transforms._images import check_pillow
from gpunn.vision.transforms._interpolation import InterpolationMode, colour, filter_of


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Sequence[float] | None = None,
) -> Any:
    """Turn, shear, scale and move Pillow's image ``img``, which keeps its size.

    Parameters
    ----------
    img : image of Pillow
    angle : float
        In degrees, clockwise.
    translate : (float, float)
        Pixels to the right and down, after the rest.
    scale : float
        Factor, positive.
    shear : float or (float, float)
        In degrees, along x, or along x and y.
    interpolation : InterpolationMode
        Nearest, bilinear or bicubic.
    fill : number, or one for each channel, optional
        Where there is no image. Default 0.
    center : (float, float), optional
        Column and row of the point that turning leaves where it is. Default: the middle.

    Returns
    -------
    image of Pillow
    """
    check_pillow("affine", img)
    turn = math.radians(real_number("affine", "angle", angle))
    moved = [real_number("affine", "translate", v) for v in _two("translate", translate)]
    factor = real_number("affine", "scale", scale, 0, above=True)
    sheared = shear if isinstance(shear, tuple | list) else (shear, 0.0)
    x, y = (math.radians(real_number("affine", "shear", v)) for v in (*sheared, 0.0)[:2])
    middle = (img.width / 2, img.height / 2) if center is None else _two("center", center)
    # Shear along y, then along x, then turn: what PyTorch's vision library has, as one matrix.
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    along_x = np.array([[1.0, -math.tan(x)], [0.0, 1.0]])
    along_y = np.array([[1.0, 0.0], [-math.tan(y), 1.0]])
    back = np.linalg.inv(factor * turned @ along_y @ along_x)
    # Pillow asks for each pixel of the result where it comes from.
    offset = np.array(middle) - back @ (np.array(middle) + moved)
    rows = [*back[0], offset[0], *back[1], offset[1]]
    transform = pillow().Transform.AFFINE
    filled = colour("affine", fill, img)
    return img.transform(img.size, transform, rows, filter_of("affine", interpolation), fillcolor=filled)


def perspective(
    img: Any,
    startpoints: Sequence[Sequence[float]],
    endpoints: Sequence[Sequence[float]],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    fill: Any = None,
) -> Any:
    """Move four corners of Pillow's image ``img``, and what is between them in perspective.

    Parameters
    ----------
    img : image of Pillow
    startpoints, endpoints : four (column, row) each
        Of the top left, top right, bottom right and bottom left corners, before and after.
    interpolation : InterpolationMode
        Nearest, bilinear or bicubic.
    fill : number, or one for each channel, optional
        Where there is no image. Default 0.

    Returns
    -------
    image of Pillow
    """
    check_pillow("perspective", img)
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise UsageError(
            f"perspective: expected four startpoints and endpoints; got {len(startpoints)} and {len(endpoints)}."
        )
    rows, wanted = [], []
    for (x, y), (column, row) in zip(startpoints, endpoints, strict=True):
        # The pixel at (column, row) comes from (x, y) = (a c + b r + e, d c + f r + g) / (h c + k r + 1).
        rows.append([column, row, 1, 0, 0, 0, -x * column, -x * row])
        rows.append([0, 0, 0, column, row, 1, -y * column, -y * row])
        wanted += [x, y]
    numbers = np.linalg.lstsq(np.array(rows, np.float64), np.array(wanted, np.float64), rcond=None)[0]
    transform = pillow().Transform.PERSPECTIVE
    filled = colour("perspective", fill, img)
    return img.transform(
        img.size, transform, numbers.tolist(), filter_of("perspective", interpolation), fillcolor=filled
    )


def _two(name: str, given: Sequence[float]) -> tuple[float, float]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError(f"affine: {name}: expected two numbers; got {given!r}.")
    return given[0], given[1]
