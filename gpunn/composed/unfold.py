"""Windows of images as columns of a matrix, and back: ``im2col`` and ``col2im``."""

from __future__ import annotations

from gpunn._shared.activations import check_floating
from gpunn._shared.places import summed_windows, windows_along
from gpunn._tensor import Tensor
from gpunn._window import Pair, Window, pair, remembered
from gpunn.errors import ShapeError, here
from gpunn.ops.pad import pad
from gpunn.ops.permute import permute
from gpunn.ops.reshape import reshape


def unfold(x: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Tensor:
    """The windows of a convolution, one column each.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    kernel_size, dilation, stride : int or (int, int)
        Vertical, horizontal.
    padding : int or (int, int)
        Rows and columns of zeros on each side.

    Returns
    -------
    Tensor, (N, C R S, P Q) or (C R S, P Q)
        Row (c R + r) S + s of column p Q + q is what window (p, q) reads at its element (r, s) of channel c.

    Raises
    ------
    ShapeError
        If x has other axes, or is smaller than the window.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.nn.functional.unfold(gpunn.arange(6.0).reshape(1, 1, 2, 3), 2).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [4.0, 5.0]]]

    References
    ----------
    Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
    """
    op = "unfold"
    if x.ndim == 3:
        y = unfold(x.unsqueeze(0), kernel_size, dilation, padding, stride)
        return y.squeeze(0)
    check_floating(op, x)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, H, W) or (C, H, W) with no axis of 0 but N; got shape {x.shape}."
        )
    n, c, *image = x.shape
    w = _window(op, (image[0], image[1]), kernel_size, dilation, padding, stride)
    top, left = w.padding
    if top or left:
        x = pad(x, (left, left, top, top))
    x = windows_along(x, 2, w.P, w.R, w.stride[0], w.dilation[0])
    x = windows_along(x, 3, w.Q, w.S, w.stride[1], w.dilation[1])
    x = permute(reshape(x, (n, c, w.P, w.R, w.Q, w.S)), (0, 1, 3, 5, 2, 4))
    return _apart(reshape(x, (n, c * w.R * w.S, w.P * w.Q)))


def fold(
    x: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """Columns added up where they come from: the transpose of :func:`unfold`, not its inverse where windows overlap.

    Parameters
    ----------
    x : Tensor, (N, C R S, P Q) or (C R S, P Q)
        float32 or float64, as :func:`unfold` returns it.
    output_size : int or (int, int)
        H, W of the image.
    kernel_size, dilation, stride : int or (int, int)
        Vertical, horizontal.
    padding : int or (int, int)
        Rows and columns on each side that are left out.

    Returns
    -------
    Tensor, (N, C, H, W) or (C, H, W)

    Raises
    ------
    ShapeError
        If x has other axes, or not as many rows and columns as windows of this size in such an image.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.nn.functional.fold(gpunn.ones(1, 4, 2), (2, 3), 2).tolist()
    [[[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]]

    References
    ----------
    Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
    """
    op = "fold"
    if x.ndim == 2:
        y = fold(x.unsqueeze(0), output_size, kernel_size, dilation, padding, stride)
        return y.squeeze(0)
    check_floating(op, x)
    if x.ndim != 3:
        raise ShapeError(f"{here(op)}: expected x (N, C R S, P Q) or (C R S, P Q); got shape {x.shape}.")
    height, width = pair(output_size, op, "output_size", 1)
    w = _window(op, (height, width), kernel_size, dilation, padding, stride)
    n, rows, columns = x.shape
    if not rows or rows % (w.R * w.S) or columns != w.P * w.Q:
        raise ShapeError(
            f"{here(op)}: expected x (N, C R S, P Q) with a multiple of {w.R * w.S} rows, the window's size, and "
            f"{w.P * w.Q} columns, for {w.P} x {w.Q} windows in an image of {height} x {width}; got shape {x.shape}."
        )
    c, (top, left) = rows // (w.R * w.S), w.padding
    x = permute(reshape(x, (n, c, w.R, w.S, w.P, w.Q)), (0, 1, 4, 2, 5, 3))
    x = reshape(x, (n, c, w.P * w.R, w.Q * w.S))
    x = summed_windows(op, x, 3, w.Q, w.S, w.stride[1], w.dilation[1], width + 2 * left)
    x = summed_windows(op, x, 2, w.P, w.R, w.stride[0], w.dilation[0], height + 2 * top)
    return x[:, :, top : top + height, left : left + width] if top or left else _apart(x)


def _apart(y: Tensor) -> Tensor:
    """y as a tensor that is no view: of one window the columns would be the image itself, in another shape."""
    return y if y._view is None else y.clone()


@remembered
def _window(op: str, image: tuple[int, int], kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair) -> Window:
    kernel, spread = pair(kernel_size, op, "kernel_size", 1), pair(dilation, op, "dilation", 1)
    steps, pads = pair(stride, op, "stride", 1), pair(padding, op, "padding", 0)
    window = Window(*image, *kernel, steps, pads, spread)
    window.check(op)
    return window
