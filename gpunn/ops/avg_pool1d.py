"""Average pooling over sequences: the bodies of ``avg_pool2d`` on images of one column."""

from __future__ import annotations

from gpunn._shared.pooling import check_images, rows_of, sequence_window
from gpunn._tensor import Tensor
from gpunn._window import Pair
from gpunn.ops.avg_pool2d import pool_average


def avg_pool1d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    strict: bool = False,
) -> Tensor:
    """The mean of each window of a sequence.

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    kernel_size, stride, padding : int
        The stride is the kernel size if not given. Padding is zeros, at most half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    strict : bool
        Raise if elements at the end are in no window, instead of leaving them out.

    Returns
    -------
    Tensor, (N, C, P) or (C, P)
        P = floor((L + 2 padding - kernel) / stride) + 1.

    Raises
    ------
    ShapeError
        If x has other axes or the window does not fit.
    UsageError, DTypeError
        If an argument is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> avg_pool1d(gpunn.tensor([[[1.0, 5, 2, 4]]]), 2).tolist()
    [[[3.0, 3.0]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "avg_pool1d"
    if x.ndim == 2:
        options = (kernel_size, stride, padding, ceil_mode, count_include_pad)
        return avg_pool1d(x.unsqueeze(0), *options, strict=strict).squeeze(0)
    check_images(op, x, 3)
    window = sequence_window(op, x.shape[2], kernel_size, stride, padding, 1, ceil_mode, strict)
    return pool_average(op, x, rows_of(x), window, count_include_pad)
