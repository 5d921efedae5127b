"""Convolution of sequences: conv2d on images of height 1."""

from __future__ import annotations

from gpunn._autocast import casting
from gpunn._device import same_device
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair, Window, sides, single
from gpunn.errors import ShapeError, here
from gpunn.ops.conv2d import check_operands, conv2d


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    strict: bool = False,
) -> Tensor:
    """One-dimensional convolution: y[i] = sum_j weight[j] x[i + j], at stride 1 and without padding.

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    weight : Tensor, (K, C / groups, S)
    bias : Tensor, (K,), optional
    stride, dilation : int
    padding : int, ((int, int),), "same" or "valid"
        Zeros on each side, or ((left, right),). "same" keeps the length at stride 1: the form centred on
        i, with the odd zero of an even extent at the end.
    groups : int
        Groups of channels, each convolved by itself; groups = C is depthwise.
    activation : None or "relu"
        Applied in the same pass.
    strict : bool
        Raise if the stride leaves elements at the end in no window.

    Returns
    -------
    Tensor, (N, K, Q) or (K, Q)
        Q = floor((L + left + right - dilation (S - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If channels do not match, the kernel is larger than the padded input, or its end is unused and
        ``strict`` is set.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    Notes
    -----
    A sequence is stored (N, C, L), an image channels last: x, weight and y are transposed once each way,
    except where that is the same memory.

    References
    ----------
    Lecture topic L12.

    Examples
    --------
    >>> import gpunn
    >>> x, theta = gpunn.tensor([[[1.0, 1, 1, 0, 0]]]), gpunn.tensor([[[1.0, 0, 1]]])
    >>> gpunn.nn.functional.conv1d(x, theta).tolist()
    [[[2.0, 1.0, 1.0]]]
    """
    if casting.on:
        x, weight, bias = casting.inputs("conv1d", x, weight, bias)
    op = "conv1d"
    if x.ndim == 2 and weight.ndim == 3:
        options = (stride, padding, dilation, groups)
        return conv1d(x.unsqueeze(0), weight, bias, *options, activation=activation, strict=strict).squeeze(0)
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(
            f"{here(op)}: expected x (N, C, L) or (C, L) and weight (K, C/groups, S); got {x.shape} and {weight.shape}."
        )
    same_device(op, *(t.device for t in (x, weight, bias) if t is not None))
    groups = as_int(groups, groups)
    check_operands(op, x, weight, bias, groups)
    window = sequence_window(op, x.shape[2], weight.shape[2], stride, padding, dilation)
    check_sequence(op, window, strict)
    n, c, length = x.shape
    y = conv2d(
        x.reshape(n, c, 1, length),
        weight.reshape(*weight.shape[:2], 1, weight.shape[2]),
        bias,
        window.stride,
        ((0, 0), (window.padding[1], window.after[1])),
        window.dilation,
        groups,
        activation=activation,
    )
    return y.reshape(n, y.shape[1], y.shape[3])


def sequence_window(op: str, length: int, kernel: int, stride: Pair, padding: Padding | str, dilation: Pair) -> Window:
    """A window over an image of height 1; UsageError where an argument is invalid on one axis."""
    step, spread = single(stride, op, "stride", 1), single(dilation, op, "dilation", 1)
    ((left, right),) = sides(padding, op, (kernel,), (step,), (spread,))
    return Window(1, length, 1, kernel, (1, step), (0, left), (1, spread), False, (0, right))


def check_sequence(op: str, window: Window, strict: bool) -> None:
    """Raise ShapeError if the window does not fit or, with ``strict``, leaves elements unused."""
    window.check(op, ("height", "length"))
    unused = window.unused[1]
    if strict and unused:
        raise ShapeError(
            f"{here(op)}: strict: expected windows to use the whole input; of length {window.W} with padding "
            f"{window.padding[1]}/{window.after[1]} the last {unused} element(s) are in no window of {window.S} at "
            f"stride {window.stride[1]}. Change padding or stride, or leave strict out."
        )
