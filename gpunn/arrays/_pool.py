"""Poolings of arrays and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical
from gpunn._shared.pooling import check_images, image_window
from gpunn._window import Pair, Window, code_type
from gpunn.arrays._calling import device_of, enter, merged, physical_of, require_shape, tensor
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.ops.avg_pool2d import avg_pool2d_backward as spread_back
from gpunn.ops.avg_pool2d import avg_pool2d_forward, checked_divisor
from gpunn.ops.max_pool2d import max_pool2d_backward as send_back
from gpunn.ops.max_pool2d import max_pool2d_forward

_Size = tuple[int, int]


def _images(array: Any) -> Any:
    """(..., H, W) as (B, C, H, W)."""
    return merged(array[(None,) * (4 - array.ndim)] if array.ndim < 4 else array, 3)


def _require_planes(op: str, x: Any, name: str = "x") -> None:
    if x.ndim < 2:
        raise ShapeError(f"{here(op)}: expected {name} of shape (..., H, W); got {x.shape}.")


def _back(op: str, dy: Any, size: _Size, window: Window) -> tuple[Any, tuple[int, ...]]:
    """dy as (B, C, P, Q), and the shape of the gradient."""
    _require_planes(op, dy, "dy")
    lead = dy.shape[:-2]
    require_shape(op, "dy", dy, (*lead, window.P, window.Q))
    return _images(dy), (*lead, *size)


def max_pool2d(
    x: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_offsets: bool = False,
) -> Any:
    """The largest element of each window, of NumPy or CuPy arrays.

    Parameters
    ----------
    x : array, (..., H, W)
        float32 or float64. A channels-last view (``buffer.transpose(0, 3, 1, 2)``) is read where it is.
    kernel_size, stride, padding, dilation : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given. Padding counts as minus infinity.
    ceil_mode : bool
        Round the output size up instead of down.
    return_offsets : bool
        Also return where in its window each maximum was, which :func:`max_pool2d_backward` needs.

    Returns
    -------
    array, (..., P, Q), or two of them
        The offsets are row times kernel width plus column, of the first of equal elements; NaN wins. They are uint8,
        or uint16 or uint32 where a window has too many elements.

    Raises
    ------
    ShapeError, UsageError, DTypeError
        If the window does not fit, an argument is invalid, or x is not floating.

    References
    ----------
    Lecture topic L15.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> y, offsets = arrays.max_pool2d(np.array([[1.0, 2, 8, 4], [5, 6, 7, 3]]), 2, return_offsets=True)
    >>> y.tolist(), offsets.tolist()
    ([[6.0, 8.0]], [[3, 0]])
    """
    op = "max_pool2d"
    home = enter(op, x=x)
    _require_planes(op, x)
    images = tensor(op, _images(x), home)
    check_images(op, images, one=False)
    window = image_window(op, images.shape[2:], kernel_size, stride, padding, dilation, ceil_mode, False)
    made = max_pool2d_forward(home, images._physical, window)
    shape = (*x.shape[:-2], window.P, window.Q)
    y, offsets = (logical(a).reshape(shape) for a in made)
    return (y, offsets) if return_offsets else y


def max_pool2d_backward(
    dy: Any,
    offsets: Any,
    size: _Size,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Any:
    """The gradient of a loss with respect to x of :func:`max_pool2d`: each dy goes to the element that won its window.

    Parameters
    ----------
    dy : array, (..., P, Q)
    offsets : array, (..., P, Q)
        As max_pool2d returned them.
    size : (int, int)
        H and W of x.
    kernel_size, stride, padding, dilation, ceil_mode
        As for max_pool2d.

    Returns
    -------
    array, (..., H, W)

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        If shapes or devices do not match, an argument is invalid, or the offsets are of another dtype.

    References
    ----------
    Lecture topic L15.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.max_pool2d_backward(np.array([[10.0]]), np.array([[3]], np.uint8), (2, 2), 2).tolist()
    [[0.0, 0.0], [0.0, 10.0]]
    """
    op = "max_pool2d_backward"
    home = enter(op, dy=dy)
    device_of(op, {"dy": dy, "offsets": offsets})
    window = image_window(op, size, kernel_size, stride, padding, dilation, ceil_mode, False)
    code = np.dtype(code_type(window, False))
    if offsets.dtype != code:
        raise DTypeError(f"{here(op)}: offsets: expected {code}, as max_pool2d returns them; got {offsets.dtype}.")
    given, shape = _back(op, dy, size, window)
    require_shape(op, "offsets", offsets, dy.shape)
    places = physical_of(op, _images(offsets), home)
    return logical(send_back(home, physical_of(op, given, home), places, window)).reshape(shape)


def avg_pool2d(
    x: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window, of NumPy or CuPy arrays.

    Parameters
    ----------
    x : array, (..., H, W)
        float32 or float64. A channels-last view (``buffer.transpose(0, 3, 1, 2)``) is read where it is.
    kernel_size, stride, padding : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given. Padding is zeros.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    divisor_override : int, optional
        Divide the sums by this instead of the number of elements.

    Returns
    -------
    array, (..., P, Q)

    Raises
    ------
    ShapeError, UsageError, DTypeError
        If the window does not fit, an argument is invalid, or x is not floating.

    References
    ----------
    Lecture topic L15.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.avg_pool2d(np.array([[1.0, 2, 8, 4], [5, 6, 7, 3]]), 2).tolist()
    [[3.5, 5.5]]
    """
    op = "avg_pool2d"
    home = enter(op, x=x)
    _require_planes(op, x)
    images = tensor(op, _images(x), home)
    check_images(op, images, one=False)
    window = _average_window(op, images.shape[2:], kernel_size, stride, padding, ceil_mode, divisor_override)
    y = avg_pool2d_forward(home, images._physical, window, count_include_pad, divisor_override or 0)
    return logical(y).reshape(*x.shape[:-2], window.P, window.Q)


def _average_window(
    op: str, size: Any, kernel: Pair, stride: Pair | None, padding: Pair, ceil_mode: bool, divisor: int | None
) -> Window:
    checked_divisor(op, divisor)
    return image_window(op, size, kernel, stride, padding, 1, ceil_mode, False)


def avg_pool2d_backward(
    dy: Any,
    size: _Size,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The gradient of a loss with respect to x of :func:`avg_pool2d`: each element gets an equal share of its dy.

    Parameters
    ----------
    dy : array, (..., P, Q)
    size : (int, int)
        H and W of x.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As for avg_pool2d.

    Returns
    -------
    array, (..., H, W)

    Raises
    ------
    ShapeError, UsageError, DTypeError
        If shapes do not match, an argument is invalid, or dy is not floating.

    References
    ----------
    Lecture topic L15.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.avg_pool2d_backward(np.array([[4.0]]), (2, 2), 2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    op = "avg_pool2d_backward"
    home: Device = enter(op, dy=dy)
    window = _average_window(op, size, kernel_size, stride, padding, ceil_mode, divisor_override)
    given, shape = _back(op, dy, size, window)
    dx = spread_back(home, physical_of(op, given, home), window, count_include_pad, divisor_override or 0)
    return logical(dx).reshape(shape)
