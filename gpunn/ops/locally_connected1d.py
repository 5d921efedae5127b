"""Locally connected sequences: locally_connected2d on images of height 1."""

from __future__ import annotations

from gpunn._device import same_device
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair
from gpunn.errors import ShapeError, here
from gpunn.ops.conv1d import check_sequence, sequence_window
from gpunn.ops.locally_connected2d import check_operands, locally_connected2d


def locally_connected1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Padding | str = 0,
    dilation: Pair = 1,
    *,
    strict: bool = False,
) -> Tensor:
    """A convolution of sequences with separate filters at every output position.

    Parameters
    ----------
    x : Tensor, (N, C, L)
        float32 or float64.
    weight : Tensor, (Q, K, C, S)
        ``weight[q]`` are the filters of output q, in the shape that ``conv1d`` takes.
    bias : Tensor, (K, Q), optional
    stride, dilation : int
    padding : int, ((int, int),), "same" or "valid"
        Zeros on each side, as in ``conv1d``.
    strict : bool
        Raise if the stride leaves elements at the end in no window.

    Returns
    -------
    Tensor, (N, K, Q)
        Q = floor((L + left + right - dilation (S - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If channels do not match, the sequence does not have Q positions, or its end is unused and
        ``strict`` is set.
    UsageError, DTypeError, DeviceError
        If an argument is invalid, or dtypes or devices differ.

    References
    ----------
    Lecture topic L14.

    Examples
    --------
    >>> import gpunn
    >>> x, weight = gpunn.tensor([[[1.0, 2, 3]]]), gpunn.tensor([[[[1.0, 0]]], [[[5.0, 7]]]])
    >>> gpunn.nn.functional.locally_connected1d(x, weight).tolist()  # 1*1 + 0*2, 5*2 + 7*3
    [[[1.0, 31.0]]]
    """
    op = "locally_connected1d"
    if x.ndim != 3 or weight.ndim != 4:
        raise ShapeError(f"{here(op)}: expected x (N, C, L) and weight (Q, K, C, S); got {x.shape} and {weight.shape}.")
    same_device(op, *(t.device for t in (x, weight, bias) if t is not None))
    (q, k, c, s), (n, _, length) = weight.shape, x.shape
    check_operands(op, x, weight, bias, c, (k, q))
    window = sequence_window(op, length, s, stride, padding, dilation)
    check_sequence(op, window, strict)
    if q != window.Q:
        raise ShapeError(
            f"{here(op)}: the weight has filters for {q} positions; a sequence of length {length} has {window.Q}. "
            "Its weights fit sequences of one length only: cut or pad them."
        )
    y = locally_connected2d(
        x.reshape(n, c, 1, length),
        weight.reshape(1, q, k, c, 1, s),
        None if bias is None else bias.reshape(k, 1, q),
        window.stride,
        ((0, 0), (window.padding[1], window.after[1])),
        window.dilation,
    )
    return y.reshape(n, k, q)
