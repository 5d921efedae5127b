"""Transposed convolution: the gradient of a convolution with respect to its input, as an op of its own.

Forward is ``conv2d_backward`` for x alone, and backward is ``conv2d_forward``: their bodies and kernels do the work.
"""

from __future__ import annotations

from typing import Any

from gpunn._autocast import casting
from gpunn._device import device_of
from gpunn._half import FLOATING
from gpunn._layout import physical_shape
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn._window import Pair, Window, pair, remembered, single
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from gpunn.ops.pad import pad
from gpunn.tape import record


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Two-dimensional transposed convolution: each pixel adds its multiple of the filter to the output.

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    weight : Tensor, (C, K / groups, R, S)
    bias : Tensor, (K,), optional
    stride, dilation : int or (int, int)
        Vertical, horizontal: how far neighbours' filters, and a filter's elements, lie apart in the output.
    padding : int or (int, int)
        Rows and columns that the output loses on each side.
    output_padding : int or (int, int)
        Rows and columns that it gains at the bottom and right; less than stride or dilation.
    groups : int
        Groups of channels, each convolved by itself.

    Returns
    -------
    Tensor, (N, K, P, Q) or (K, P, Q)
        P = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1, Q likewise.

    Raises
    ------
    ShapeError
        If channels do not match, or nothing would be left of the output.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    Examples
    --------
    >>> import gpunn
    >>> x, weight = gpunn.tensor([[[[1.0, 2.0]]]]), gpunn.tensor([[[[1.0, 10.0]]]])
    >>> gpunn.nn.functional.conv_transpose2d(x, weight, stride=2).tolist()
    [[[[1.0, 10.0, 2.0, 20.0]]]]

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """
    if casting.on:
        x, weight, bias = casting.inputs("conv_transpose2d", x, weight, bias)
    op = "conv_transpose2d"
    if x.ndim not in (3, 4) or weight.ndim != 4:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, H, W) or (C, H, W) and weight (C, K/groups, R, S); got {x.shape} and "
            f"{weight.shape}."
        )
    if x.ndim == 3:
        y = conv_transpose2d(x.reshape(1, *x.shape), weight, bias, stride, padding, output_padding, groups, dilation)
        return y.reshape(y.shape[1:])
    check_transposed(op, x, weight, bias, groups)
    steps, spread = pair(stride, op, "stride", 1), pair(dilation, op, "dilation", 1)
    cut, more = pair(padding, op, "padding", 0), pair(output_padding, op, "output_padding", 0)
    window = _window(op, x.shape[2:], weight.shape[2:], steps, cut, more, spread)
    y = _transposed(op, x, weight, window, as_int(groups, groups))
    below, right = (max(0, m - p - s + 1) for m, p, s in zip(more, cut, steps, strict=True))
    if below or right:
        y = pad(y, (0, right, 0, below))
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """One-dimensional transposed convolution: each element adds its multiple of the filter to the output.

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    weight : Tensor, (C, K / groups, S)
    bias : Tensor, (K,), optional
    stride, dilation : int
        How far neighbours' filters, and a filter's elements, lie apart in the output.
    padding : int
        Elements that the output loses on each side.
    output_padding : int
        Elements that it gains at the end; less than stride or dilation.
    groups : int
        Groups of channels, each convolved by itself.

    Returns
    -------
    Tensor, (N, K, Q) or (K, Q)
        Q = (L - 1) stride - 2 padding + dilation (S - 1) + output_padding + 1.

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
        x, weight, bias = casting.inputs("conv_transpose1d", x, weight, bias)
    op = "conv_transpose1d"
    if x.ndim not in (2, 3) or weight.ndim != 3:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, L) or (C, L) and weight (C, K/groups, S); got {x.shape} and {weight.shape}."
        )
    check_transposed(op, x if x.ndim == 3 else x.reshape(1, *x.shape), weight, bias, groups)
    y = conv_transpose2d(
        x.reshape(*x.shape[:-1], 1, x.shape[-1]),
        weight.reshape(*weight.shape[:2], 1, weight.shape[2]),
        bias,
        (1, single(stride, op, "stride", 1)),
        (0, single(padding, op, "padding", 0)),
        (0, single(output_padding, op, "output_padding", 0)),
        groups,
        (1, single(dilation, op, "dilation", 1)),
    )
    return y.reshape(*y.shape[:-2], y.shape[-1])


@remembered
def _window(
    op: str,
    image: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    more: tuple[int, int],
    dilation: tuple[int, int],
) -> Window:
    """The window of the convolution whose gradient this is: over the output, without what no filter reaches."""
    sizes, ends = [], []
    for n, k, step, cut, extra, spread in zip(image, kernel, stride, padding, more, dilation, strict=True):
        if extra >= max(step, spread):
            raise UsageError(
                f"{here(op)}: output_padding: expected less than stride {step} or dilation {spread}; got {extra}."
            )
        # More would be room for one more output of the convolution. What is left out is zeros.
        inside = min(extra, cut + step - 1)
        size = (n - 1) * step - 2 * cut + spread * (k - 1) + inside + 1
        if n < 1 or k < 1 or size + extra - inside < 1:
            raise ShapeError(
                f"{here(op)}: the output would have the length {size + extra - inside} for an input of {n}, a kernel "
                f"of {k}, stride {step} and padding {cut}. Use less padding."
            )
        sizes.append(size)
        ends.append(max(0, cut - inside))
    (top, left), (bottom, right) = padding, ends
    return Window(sizes[0], sizes[1], *kernel, stride, (top, left), dilation, False, (bottom, right))


def _transposed(op: str, x: Tensor, weight: Tensor, window: Window, groups: int) -> Tensor:
    device, image, filters = x.device, x._physical, weight._physical
    shape = (x.shape[0], weight.shape[1] * groups, window.H, window.W)
    # The primitive's input, of which only the shape is asked for.
    like = device.empty(physical_shape(shape), x.dtype)
    y = conv2d_backward(device, image, None, like, filters, window, groups, (True, False, False))[0]

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        dx = conv2d_forward(device, dy, filters, window, groups, None, False) if needs[0] else None
        if not needs[1]:
            return dx, None
        return dx, conv2d_backward(device, image, None, dy, filters, window, groups, (False, True, False))[1]

    return record(op, y, device, (x, weight), backward, saves=(x, weight))


def check_transposed(op: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    """Raise unless channels, groups, bias, dtypes and devices match."""
    device_of(op, (x, weight) if bias is None else (x, weight, bias))
    groups, (channels, k) = as_int(groups, groups), weight.shape[:2]
    if type(groups) is not int or groups < 1 or channels % groups:
        raise UsageError(f"{here(op)}: groups: expected a divisor of the {channels} input channels; got {groups!r}.")
    if k == 0 or channels == 0:
        raise ShapeError(f"{here(op)}: expected at least one channel and one filter; got weight {weight.shape}.")
    if x.shape[1] != channels:
        raise ShapeError(
            f"{here(op)}: expected {channels} input channels to match weight {weight.shape}; got x of shape {x.shape}."
        )
    if bias is not None and bias.shape != (k * groups,):
        raise ShapeError(f"{here(op)}: expected a bias of shape {(k * groups,)}; got {bias.shape}.")
    dtypes = [t.dtype for t in (x, weight, bias) if t is not None]
    if x.dtype.kind not in FLOATING or any(d != x.dtype for d in dtypes):
        raise DTypeError(
            f"{here(op)}: expected one floating dtype; got {', '.join(map(str, dtypes))} for x, weight, bias. "
            "Convert x with .float() or the layer with .to(dtype)."
        )
