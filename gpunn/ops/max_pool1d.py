"""Max pooling over sequences: the bodies of ``max_pool2d`` on images of one column."""

from __future__ import annotations

from typing import Literal, overload

from gpunn._shared.pooling import check_images, rows_of, sequence_window
from gpunn._tensor import Tensor
from gpunn._window import Pair
from gpunn.ops.max_pool2d import pool_maximum


@overload
def max_pool1d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    strict: bool = False,
) -> Tensor: ...
@overload
def max_pool1d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    strict: bool = False,
) -> Tensor | tuple[Tensor, Tensor]: ...
def max_pool1d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    strict: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each window of a sequence.

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    kernel_size, stride, padding, dilation : int
        The stride is the kernel size if not given. Padding counts as minus infinity and is at most
        half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    return_indices : bool
        Also return the index of each maximum.
    strict : bool
        Raise if elements at the end are in no window, instead of leaving them out.

    Returns
    -------
    Tensor, (N, C, P) or (C, P), or two of them
        P = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1. Of equal elements the
        first gets the gradient; NaN wins. The indices are int64.

    Raises
    ------
    ShapeError
        If x has other axes, or the window does not fit.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> max_pool1d(gpunn.tensor([[[1.0, 5, 2, 4]]]), 2).tolist()
    [[[5.0, 4.0]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "max_pool1d"
    if x.ndim == 2:
        options = (kernel_size, stride, padding, dilation, ceil_mode)
        found = max_pool1d(x.unsqueeze(0), *options, return_indices, strict=strict)
        return found.squeeze(0) if isinstance(found, Tensor) else (found[0].squeeze(0), found[1].squeeze(0))
    check_images(op, x, 3)
    window = sequence_window(op, x.shape[2], kernel_size, stride, padding, dilation, ceil_mode, strict)
    y, index = pool_maximum(op, x, rows_of(x), window, return_indices)
    return y if index is None else (y, index)
