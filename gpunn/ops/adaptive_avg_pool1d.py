"""Adaptive average pooling over sequences: the bodies of ``adaptive_avg_pool2d`` on images of one column."""

from __future__ import annotations

from gpunn._shared.pooling import OutputSize, check_images, output_sizes, rows_of
from gpunn._tensor import Tensor
from gpunn.ops.adaptive_avg_pool2d import average_adaptively


def adaptive_avg_pool1d(x: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of each of P windows that cover the sequence.

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    output_size : int
        P; None keeps the input's length.

    Returns
    -------
    Tensor, (N, C, P) or (C, P)
        Output p averages elements floor(p L / P) to ceil((p + 1) L / P).

    Raises
    ------
    ShapeError
        If x has other axes.
    UsageError, DTypeError
        If the size is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> adaptive_avg_pool1d(gpunn.tensor([[[1.0, 5, 3]]]), 2).tolist()
    [[[3.0, 4.0]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "adaptive_avg_pool1d"
    if x.ndim == 2:
        return adaptive_avg_pool1d(x.unsqueeze(0), output_size).squeeze(0)
    check_images(op, x, 3)
    (p,) = output_sizes(op, output_size, x.shape[2:])
    return average_adaptively(op, x, rows_of(x), (p, 1))
