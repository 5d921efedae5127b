"""Images read at positions that a tensor gives: spatial transformers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._capture_state import refuse_in_capture
from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._shared.activations import check_floating
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.clamp import clamp
from gpunn.ops.gather import gather
from gpunn.ops.matmul import bmm

_OP = "grid_sample"
_MODES = ("bilinear", "nearest")
_PADDINGS = ("zeros", "border", "reflection")


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Positions for :func:`grid_sample` that an affine map gives for every pixel of the output.

    Parameters
    ----------
    theta : Tensor, (N, 2, 3)
        A map for each image, from (x, y, 1) to (x, y).
    size : sequence of 4 int
        (N, C, H, W) of the output.
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the first and last pixels; else their outer edges.

    Returns
    -------
    Tensor, (N, H, W, 2)

    Raises
    ------
    ShapeError
        If ``theta`` and ``size`` do not fit; volumes are not supported.
    DTypeError
        If ``theta`` is not floating.

    References
    ----------
    Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, arXiv:1506.02025, section 3.2.
    """
    op = "affine_grid"
    check_floating(op, theta)
    shape = tuple(int(n) for n in size)
    if len(shape) != 4 or theta.shape != (shape[0], 2, 3):
        raise ShapeError(
            f"{here(op)}: expected size (N, C, H, W) and theta (N, 2, 3); got size {shape} and theta {theta.shape}."
        )
    n, _, height, width = shape
    points = _points(theta.device, theta.dtype, height, width, bool(align_corners))
    return bmm(points.expand(n, height * width, 3), theta.transpose(1, 2)).reshape(n, height, width, 2)


@functools.lru_cache(maxsize=64)
def _points(device: Device, dtype: np.dtype, height: int, width: int, corners: bool) -> Tensor:
    """(1, H W, 3): x, y and 1 of every pixel. Kept, as a captured step can copy nothing from the host."""
    refuse_in_capture("affine_grid of a new size (positions calculated on the host)")

    def centres(count: int) -> np.ndarray:
        end = 0.0 if count == 1 else 1.0 if corners else (count - 1) / count
        return np.linspace(-end, end, count)

    y, x = np.meshgrid(centres(height), centres(width), indexing="ij")
    return tensor(np.stack([x, y, np.ones_like(x)], -1).reshape(1, -1, 3), dtype=dtype, device=device)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The images' values at the positions in ``grid``, between pixels by interpolation.

    Parameters
    ----------
    input : Tensor, (N, C, H, W)
        float32 or float64.
    grid : Tensor, (N, h, w, 2)
        (x, y) for each pixel of the output; -1 and 1 are the image's ends, left or upper and right or lower.
    mode : str
        "bilinear", or "nearest", through which no gradient reaches ``grid``.
    padding_mode : str
        What is outside of the image: "zeros", "border" (the nearest pixel of its edge) or "reflection" (the image in a
        mirror).
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the first and last pixels; else their outer edges.

    Returns
    -------
    Tensor, (N, C, h, w)

    Raises
    ------
    ShapeError, DTypeError
        If the two do not fit; volumes are not supported.
    UsageError
        If a mode is unknown; "bicubic" is not supported.

    References
    ----------
    Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, arXiv:1506.02025, section 3.3.
    """
    if casting.on:
        input, grid = casting.inputs("grid_sample", input, grid)
    check_floating(_OP, input)
    _check(input, grid, mode, padding_mode)
    n, channels, height, width = input.shape
    rows, columns = grid.shape[1:3]
    corners = bool(align_corners)
    x = _inside(_pixels(grid[..., 0], width, corners), width, padding_mode, corners)
    y = _inside(_pixels(grid[..., 1], height, corners), height, padding_mode, corners)
    flat = input.reshape(n, channels, height * width)

    def at(column: Tensor, row: Tensor) -> Tensor:
        """The image at whole positions, 0 outside."""
        place = clamp(row, 0, height - 1) * width + clamp(column, 0, width - 1)
        index = place.to("int64").reshape(n, 1, rows * columns).expand(n, channels, rows * columns)
        values = gather(flat, 2, index).reshape(n, channels, rows, columns)
        there = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
        return values * there.to(input.dtype).unsqueeze(1)

    if mode == "nearest":
        return at(x.detach().round(), y.detach().round())
    left, top = x.detach().floor(), y.detach().floor()
    right, bottom = left + 1, top + 1
    total: Any = 0
    for column, across in ((left, right - x), (right, x - left)):
        for row, down in ((top, bottom - y), (bottom, y - top)):
            total = total + at(column, row) * (across * down).unsqueeze(1)
    return total


def _check(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    for name, value, known in (("mode", mode, _MODES), ("padding_mode", padding_mode, _PADDINGS)):
        if value not in known:
            raise UsageError(f"{here(_OP)}: {name}: expected one of {', '.join(known)}; got {value!r}.")
    if input.ndim != 4 or grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] != input.shape[0]:
        raise ShapeError(
            f"{here(_OP)}: expected input (N, C, H, W) and grid (N, h, w, 2); got {input.shape} and {grid.shape}."
        )
    if 0 in input.shape[2:]:
        raise ShapeError(f"{here(_OP)}: expected an image with pixels; got shape {input.shape}.")
    if grid.dtype != input.dtype:
        raise DTypeError(f"{here(_OP)}: expected one dtype; got input {input.dtype} and grid {grid.dtype}.")


def _pixels(position: Tensor, count: int, corners: bool) -> Tensor:
    """From -1 … 1 to pixels: the centre of the first one is 0."""
    return (position + 1) * ((count - 1) / 2) if corners else ((position + 1) * count - 1) / 2


def _inside(x: Tensor, count: int, padding_mode: str, corners: bool) -> Tensor:
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        # Mirrors stand at the centres of the outermost pixels, or at their outer edges.
        low, high = (0.0, count - 1.0) if corners else (-0.5, count - 0.5)
        if high > low:
            span = high - low
            away = (x - low).abs()
            flips = (away.detach() / span).floor()
            rest = away - flips * span
            odd = flips - 2 * (flips / 2).floor()
            x = low + rest + odd * (span - 2 * rest)
        else:
            x = x * 0
    return clamp(x, 0, count - 1)
