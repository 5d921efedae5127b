"""Convolution of volumes and its transpose, by those of images whose channels are all that slices have."""

from __future__ import annotations

from gpunn._autocast import casting
from gpunn._device import device_of
from gpunn._shared.numbers import as_int
from gpunn._shared.places import summed_windows, windows_along
from gpunn._shared.volumes import handed_over, to_images, to_volumes
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, sides, triple
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.conv2d import check_operands, conv2d
from gpunn.ops.conv_transpose2d import check_transposed, conv_transpose2d
from gpunn.ops.pad import pad

_FORMS = "(N, C, D, H, W) or (C, D, H, W)"


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Three-dimensional convolution (cross-correlation, as everywhere in deep learning).

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    weight : Tensor, (K, C / groups, T, R, S)
    bias : Tensor, (K,), optional
    stride, dilation : int or (int, int, int)
        Along depth, vertical, horizontal.
    padding : int, (int, int, int), three pairs, "same" or "valid"
        Zeros on each side: for all, (depth, vertical, horizontal), or ((front, back), (top, bottom), (left, right)).
        "same" keeps the size, with the odd zero of an even extent at the end; it needs stride 1.
    groups : int
        Groups of channels, each convolved by itself; groups = C is depthwise.

    Returns
    -------
    Tensor, (N, K, O, P, Q) or (K, O, P, Q)
        O = floor((D + front + back - dilation (T - 1) - 1) / stride) + 1, P and Q likewise.

    Raises
    ------
    ShapeError
        If channels do not match, or the kernel is larger than the padded input.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    Notes
    -----
    The T slices that an output reads become one image of C T channels, so x is copied T times. A kernel of one row and
    one column, with stride 1 there, is a convolution of images of D rows, without that.

    References
    ----------
    Ji, Xu, Yang, Yu 2013, "3D convolutional neural networks for human action recognition".
    """
    if casting.on:
        x, weight, bias = casting.inputs("conv3d", x, weight, bias)
    op = "conv3d"
    if x.ndim not in (4, 5) or weight.ndim != 5:
        raise ShapeError(
            f"{here(op)}: expected x {_FORMS} and weight (K, C/groups, T, R, S); got {x.shape} and {weight.shape}."
        )
    device_of(op, (x, weight) if bias is None else (x, weight, bias))
    if x.ndim == 4:
        return conv3d(x.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    groups = as_int(groups, groups)
    check_operands(op, x, weight, bias, groups)
    (n, c, d, h, w), (k, part, t, r, s) = x.shape, weight.shape
    steps, spread = triple(stride, op, "stride", 1), triple(dilation, op, "dilation", 1)
    (front, back), *beside = sides(padding, op, (t, r, s), steps, spread)
    (top, bottom), (left, right) = beside
    deep = Window(d, 1, t, 1, (steps[0], 1), (front, 0), (spread[0], 1), False, (back, 0))
    flat = Window(h, w, r, s, steps[1:], (top, left), spread[1:], False, (bottom, right))
    deep.check(op, ("depth", "width"))
    flat.check(op)
    if steps[1:] == (r, s) == (1, 1) and not any((top, bottom, left, right)):
        rows, column = x.reshape(n, c, d, h * w), weight.reshape(k, part, t, 1)
        y = conv2d(rows, column, bias, (steps[0], 1), ((front, back), (0, 0)), (spread[0], 1), groups)
        return handed_over(op, y, (n, k, deep.P, h, w))
    if front or back:
        x = pad(x, (0, 0, 0, 0, front, back))
    x = windows_along(x, 2, deep.P, t, steps[0], spread[0])
    filters = weight.reshape(k, part * t, r, s)
    y = conv2d(to_images(op, x, t), filters, bias, steps[1:], beside, spread[1:], groups)
    return to_volumes(op, y, n, deep.P)


def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Three-dimensional transposed convolution: each element adds its multiple of the filter to the output.

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    weight : Tensor, (C, K / groups, T, R, S)
    bias : Tensor, (K,), optional
    stride, dilation : int or (int, int, int)
        Along depth, vertical, horizontal: how far neighbours' filters, and a filter's elements, lie apart in y.
    padding : int or (int, int, int)
        Slices, rows and columns that the output loses on each side.
    output_padding : int or (int, int, int)
        What it gains at the back, bottom and right; less than stride or dilation.
    groups : int
        Groups of channels, each convolved by itself.

    Returns
    -------
    Tensor, (N, K, O, P, Q) or (K, O, P, Q)
        O = (D - 1) stride - 2 padding + dilation (T - 1) + output_padding + 1, P and Q likewise.

    Raises
    ------
    ShapeError
        If channels do not match, or nothing would be left of the output.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """
    if casting.on:
        x, weight, bias = casting.inputs("conv_transpose3d", x, weight, bias)
    op = "conv_transpose3d"
    if x.ndim not in (4, 5) or weight.ndim != 5:
        raise ShapeError(
            f"{here(op)}: expected x {_FORMS} and weight (C, K/groups, T, R, S); got {x.shape} and {weight.shape}."
        )
    if x.ndim == 4:
        batch = x.unsqueeze(0)
        return conv_transpose3d(batch, weight, bias, stride, padding, output_padding, groups, dilation).squeeze(0)
    check_transposed(op, x, weight, bias, groups)
    groups = as_int(groups, groups)
    (n, _, d, h, w), (c, part, t, r, s) = x.shape, weight.shape
    steps, spread = triple(stride, op, "stride", 1), triple(dilation, op, "dilation", 1)
    cut, more = triple(padding, op, "padding", 0), triple(output_padding, op, "output_padding", 0)
    for extra, step, apart in zip(more, steps, spread, strict=True):
        if extra >= max(step, apart):
            raise UsageError(
                f"{here(op)}: output_padding: expected less than stride {step} or dilation {apart}; got {extra}."
            )
    whole = tuple(
        (size - 1) * step + apart * (k - 1) + 1
        for size, step, apart, k in zip((d, h, w), steps, spread, (t, r, s), strict=True)
    )
    made = tuple(size - 2 * p + extra for size, p, extra in zip(whole, cut, more, strict=True))
    if 0 in (d, h, w, t, r, s) or any(size < 1 for size in made):
        raise ShapeError(
            f"{here(op)}: the output would have the lengths {made} for an input of {(d, h, w)}, a kernel of "
            f"{(t, r, s)}, stride {steps} and padding {cut}. Use less padding."
        )
    # Each slice with each slice of the filter. What belongs to one slice of the output is added up.
    filters = weight.reshape(c, part * t, r, s)
    y = conv_transpose2d(to_images(op, x), filters, None, steps[1:], cut[1:], more[1:], groups, spread[1:])
    y = to_volumes(op, y, n, d, t)
    y = summed_windows(op, y, 2, d, t, steps[0], spread[0], whole[0])
    if cut[0] or more[0]:
        y = pad(y, (0, 0, 0, 0, -cut[0], more[0] - cut[0]))
    return y if bias is None else y + bias.reshape(1, -1, 1, 1, 1)
