"""Adaptive max pooling (``kernels/adaptive_max_pool2d.cu``): the largest element of each of P x Q windows.

Where P and Q divide the image it is ``max_pool2d``; the bodies here are for windows of unequal size.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, overload

import numpy as np

from gpunn._device import Device
from gpunn._shared.pooling import OutputSize, check_images, output_sizes
from gpunn._tensor import Tensor
from gpunn._window import Window, segments
from gpunn.cpu import adaptive_max_pool2d as fast
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.gpu.windows import DECLARED, adaptive_windows, launch_backward, launch_windows
from gpunn.ops.max_pool2d import pool_maximum
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("adaptive_max_pool2d.cu", **DECLARED)


@primitive(returns=("y", "index"))
def adaptive_max_pool2d_forward(xp: Any, x: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    """y[n,p,q,c] = max of x over rows p and columns q; index = h W + w of the first one, or of the last NaN."""
    n, height, width, c = x.shape
    y, index = xp.empty((n, *size, c), x.dtype), xp.empty((n, *size, c), np.int64)
    place = xp.arange(height * width).reshape(height, width)
    for p, q, rows, columns in _windows(height, width, size):
        inside = place[rows, columns].reshape(-1)
        u = x[:, rows, columns].reshape(n, len(inside), c)
        y[:, p, q] = u.max(axis=1)
        nans = xp.isnan(u)
        last = len(inside) - 1 - nans[:, ::-1].argmax(axis=1)
        index[:, p, q] = inside[xp.where(nans.any(axis=1), last, (u == y[:, p : p + 1, q]).argmax(axis=1))]
    return y, index


def _windows(height: int, width: int, size: tuple[int, int]) -> list[tuple[int, int, slice, slice]]:
    """(p, q, rows, columns) of every window."""
    return [
        (p, q, slice(*rows), slice(*columns))
        for p, rows in enumerate(segments(height, size[0]))
        for q, columns in enumerate(segments(width, size[1]))
    ]


@adaptive_max_pool2d_forward.numpy
def _(x: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return fast.forward(x, segments(x.shape[1], size[0]), segments(x.shape[2], size[1]))


@adaptive_max_pool2d_forward.kernel(stored=("x",))
def _(device: Device, x: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    n, *image = x.shape
    y, index = (device.empty((n, *size, image[2]), dtype) for dtype in (x.dtype, np.int64))
    most = ceil_div(image[0], size[0]) * ceil_div(image[1], size[1])
    geometry = functools.partial(adaptive_windows, tuple(image), size)
    launch_windows(SOURCE, "adaptive_max_pool2d_forward", device, (y, index), x, geometry, most)
    return y, index


@primitive(returns=("dx",))
def adaptive_max_pool2d_backward(xp: Any, dy: Any, index: Any, height: int, width: int) -> Any:
    """dx (N, H, W, C): each dy goes to the element that won its window."""
    n, p, q, c = dy.shape
    dx = xp.zeros((n, height, width, c), dy.dtype)
    place = xp.arange(height * width).reshape(height, width)
    for i, j, rows, columns in _windows(height, width, (p, q)):
        won = place[rows, columns][:, :, None] == index[:, i, j][:, None, None]
        dx[:, rows, columns] += xp.where(won, dy[:, i, j][:, None, None], dy.dtype.type(0))
    return dx


adaptive_max_pool2d_backward.numpy(fast.backward)


@adaptive_max_pool2d_backward.kernel(stored=("dy",))
def _(device: Device, dy: Any, index: Any, height: int, width: int) -> Any:
    n, p, q, c = dy.shape
    dx = device.empty((n, height, width, c), dy.dtype)
    geometry = functools.partial(adaptive_windows, (height, width, c), (p, q))
    launch_backward(SOURCE, "adaptive_max_pool2d_backward", device, dx, (dy, index), geometry)
    return dx


@overload
def adaptive_max_pool2d(x: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool2d(
    x: Tensor, output_size: OutputSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]: ...
def adaptive_max_pool2d(
    x: Tensor, output_size: OutputSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each of P x Q windows that cover the image.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    output_size : int, None, or two of them
        P and Q, or one number for both; None keeps the input's size.
    return_indices : bool
        Also return where each maximum was, as h W + w.

    Returns
    -------
    Tensor, (N, C, P, Q) or (C, P, Q), or two of them
        Output p reads rows floor(p H / P) to ceil((p + 1) H / P), columns likewise. Of equal elements
        the first gets the gradient; NaN wins, the last of several. The indices are int64.

    Raises
    ------
    ShapeError
        If x has other axes.
    UsageError, DTypeError
        If the size is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> adaptive_max_pool2d(gpunn.arange(6.0).reshape(1, 1, 2, 3), (2, 1)).tolist()
    [[[[2.0], [5.0]]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "adaptive_max_pool2d"
    if x.ndim == 3:
        found = adaptive_max_pool2d(x.unsqueeze(0), output_size, return_indices)
        return found.squeeze(0) if isinstance(found, Tensor) else (found[0].squeeze(0), found[1].squeeze(0))
    check_images(op, x)
    device, (height, width) = x.device, x.shape[2:]
    p, q = output_sizes(op, output_size, (height, width))
    kernel = height // p, width // q
    if kernel[0] * p == height and kernel[1] * q == width and kernel[0] * kernel[1] <= 256:
        tiles = Window(height, width, *kernel, kernel, (0, 0), (1, 1))
        y, places = pool_maximum(op, x, x._physical, tiles, return_indices)
        return y if places is None else (y, places)
    pooled, index = adaptive_max_pool2d_forward(device, x._physical, (p, q))
    indices = Tensor._of_physical(index, device)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (adaptive_max_pool2d_backward(device, dy, index, height, width),)

    y = record(op, pooled, device, (x,), backward, saves=(indices,))
    return (y, indices) if return_indices else y
