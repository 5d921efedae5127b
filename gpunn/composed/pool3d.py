"""Pooling of volumes: of each slice as an image, then along the depth.

Maxima and sums over a box are those over depth of those over its slices, and a mean's number of elements is the product
of those along the axes.
"""

from __future__ import annotations

import math
from typing import Any, Literal, overload

from gpunn._autocast import casting
from gpunn._shared.activations import check_floating
from gpunn._shared.pooling import OutputSize, image_window, output_sizes
from gpunn._shared.volumes import as_planes, as_rows, handed_over
from gpunn._tensor import Tensor
from gpunn._window import Pair, Window, triple
from gpunn.errors import ShapeError, here
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d
from gpunn.ops.avg_pool2d import checked_divisor, pool_average
from gpunn.ops.div import floor_divide
from gpunn.ops.gather import gather
from gpunn.ops.max_pool2d import pool_maximum


@overload
def max_pool3d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool3d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]: ...
def max_pool3d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each window of a volume.

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    kernel_size, stride, padding, dilation : int or (int, int, int)
        Along depth, vertical, horizontal. The stride is the kernel size if not given. Padding counts as minus infinity
        and is at most half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    return_indices : bool
        Also return where each maximum was, as (d H + h) W + w.

    Returns
    -------
    Tensor, (N, C, O, P, Q) or (C, O, P, Q), or two of them
        O = floor((D + 2 padding - dilation (kernel - 1) - 1) / stride) + 1. Of equal elements the first gets the
        gradient; NaN wins, the last of several. The indices are int64.

    Raises
    ------
    ShapeError
        If x has other axes, or the window does not fit.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    References
    ----------
    Lecture topic L15.
    """
    if casting.on:
        (x,) = casting.inputs("max_pool3d", x)
    op = "max_pool3d"
    if x.ndim == 4:
        found = max_pool3d(x.unsqueeze(0), kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        return found.squeeze(0) if isinstance(found, Tensor) else (found[0].squeeze(0), found[1].squeeze(0))
    _check(op, x)
    deep, flat = volume_windows(op, x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    planes = as_planes(x)
    slices, inside = pool_maximum(op, planes, planes._physical, flat, return_indices)
    rows = as_rows(slices.reshape(*x.shape[:3], flat.P, flat.Q))
    y, which = pool_maximum(op, rows, rows._physical, deep, return_indices)
    shape = (*x.shape[:2], deep.P, flat.P, flat.Q)
    y = handed_over(op, y, shape)
    if inside is None or which is None:
        return y
    return y, _places(inside, which, x.shape, flat.P * flat.Q, shape)


def _places(inside: Tensor, which: Tensor, old: tuple[int, ...], plane: int, shape: tuple[int, ...]) -> Tensor:
    """Places in volumes of shape ``old``, from those in each slice and those among the ``plane`` numbers of slices."""
    lines = math.prod(old[:2])
    which = which.reshape(lines, -1)
    flat = gather(inside.reshape(lines, old[2] * plane), 1, which)
    return (floor_divide(which, plane) * (old[3] * old[4]) + flat).reshape(shape)


def avg_pool3d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of a volume.

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    kernel_size, stride, padding : int or (int, int, int)
        Along depth, vertical, horizontal. The stride is the kernel size if not given. Padding is zeros, at most half
        the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    divisor_override : int, optional
        Divide the sums by this instead of the number of elements.

    Returns
    -------
    Tensor, (N, C, O, P, Q) or (C, O, P, Q)
        O = floor((D + 2 padding - kernel) / stride) + 1.

    Raises
    ------
    ShapeError
        If x has other axes, or the window does not fit.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    References
    ----------
    Lecture topic L15.
    """
    if casting.on:
        (x,) = casting.inputs("avg_pool3d", x)
    op = "avg_pool3d"
    if x.ndim == 4:
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return avg_pool3d(x.unsqueeze(0), *options).squeeze(0)
    _check(op, x)
    divisor = checked_divisor(op, divisor_override)
    deep, flat = volume_windows(op, x.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    planes = as_planes(x)
    slices = pool_average(op, planes, planes._physical, flat, count_include_pad, divisor)
    rows = as_rows(slices.reshape(*x.shape[:3], flat.P, flat.Q))
    y = pool_average(op, rows, rows._physical, deep, count_include_pad, 1 if divisor else 0)
    return handed_over(op, y, (*x.shape[:2], deep.P, flat.P, flat.Q))


def adaptive_avg_pool3d(x: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of O x P x Q windows that cover the volume.

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    output_size : int, None, or three of them
        O, P and Q, or one number for all; None keeps the input's size. They may be larger than it.

    Returns
    -------
    Tensor, (N, C, O, P, Q) or (C, O, P, Q)
        Output o averages slices floor(o D / O) to ceil((o + 1) D / O), rows and columns likewise.

    Raises
    ------
    ShapeError
        If x has other axes.
    UsageError, DTypeError
        If the size is invalid, or x is not floating.

    References
    ----------
    Lecture topic L15.
    """
    if casting.on:
        (x,) = casting.inputs("adaptive_avg_pool3d", x)
    op = "adaptive_avg_pool3d"
    if x.ndim == 4:
        return adaptive_avg_pool3d(x.unsqueeze(0), output_size).squeeze(0)
    _check(op, x)
    o, p, q = output_sizes(op, output_size, x.shape[2:])
    slices = adaptive_avg_pool2d(as_planes(x), (p, q))
    y = adaptive_avg_pool2d(as_rows(slices.reshape(*x.shape[:3], p, q)), (o, None))
    return handed_over(op, y, (*x.shape[:2], o, p, q))


@overload
def adaptive_max_pool3d(x: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool3d(
    x: Tensor, output_size: OutputSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]: ...
def adaptive_max_pool3d(
    x: Tensor, output_size: OutputSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each of O x P x Q windows that cover the volume.

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    output_size : int, None, or three of them
        O, P and Q, or one number for all; None keeps the input's size.
    return_indices : bool
        Also return where each maximum was, as (d H + h) W + w.

    Returns
    -------
    Tensor, (N, C, O, P, Q) or (C, O, P, Q), or two of them
        Output o reads slices floor(o D / O) to ceil((o + 1) D / O), rows and columns likewise. Of equal elements the
        first gets the gradient; NaN wins, the last of several. The indices are int64.

    Raises
    ------
    ShapeError
        If x has other axes.
    UsageError, DTypeError
        If the size is invalid, or x is not floating.

    References
    ----------
    Lecture topic L15.
    """
    if casting.on:
        (x,) = casting.inputs("adaptive_max_pool3d", x)
    op = "adaptive_max_pool3d"
    if x.ndim == 4:
        found = adaptive_max_pool3d(x.unsqueeze(0), output_size, return_indices)
        return found.squeeze(0) if isinstance(found, Tensor) else (found[0].squeeze(0), found[1].squeeze(0))
    _check(op, x)
    o, p, q = output_sizes(op, output_size, x.shape[2:])
    shape = (*x.shape[:2], o, p, q)
    if not return_indices:
        slices = adaptive_max_pool2d(as_planes(x), (p, q))
        y = adaptive_max_pool2d(as_rows(slices.reshape(*x.shape[:3], p, q)), (o, None))
        return handed_over(op, y, shape)
    slices, inside = adaptive_max_pool2d(as_planes(x), (p, q), True)
    y, which = adaptive_max_pool2d(as_rows(slices.reshape(*x.shape[:3], p, q)), (o, None), True)
    return handed_over(op, y, shape), _places(inside, which, x.shape, p * q, shape)


def _check(op: str, x: Tensor) -> None:
    """Raise unless x is a floating batch of volumes."""
    check_floating(op, x)
    if x.ndim != 5 or 0 in x.shape[1:]:
        raise ShapeError(
            f"{here(op)}: expected x of shape (N, C, D, H, W) or (C, D, H, W) with no axis of 0 but N; got {x.shape}."
        )


def volume_windows(
    op: str, size: tuple[int, ...], kernel: Pair, stride: Pair | None, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Window, Window]:
    """The checked window along the depth, over images of D rows of the other's outputs, and that over slices."""
    spans = triple(kernel, op, "kernel_size", 1)
    steps = spans if stride is None else triple(stride, op, "stride", 1)
    pads, spread = triple(padding, op, "padding", 0), triple(dilation, op, "dilation", 1)
    flat = image_window(op, (size[1], size[2]), spans[1:], steps[1:], pads[1:], spread[1:], ceil_mode, False)
    rows = (size[0], flat.P * flat.Q)
    column = (spans[0], 1), (steps[0], 1), (pads[0], 0), (spread[0], 1)
    return image_window(op, rows, *column, ceil_mode, False, ("depth", "width")), flat
