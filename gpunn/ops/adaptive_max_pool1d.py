"""Adaptive max pooling over sequences: :func:`adaptive_max_pool2d` of images of one column."""

from __future__ import annotations

import math
from typing import Literal, overload

from gpunn._shared.activations import check_floating
from gpunn._shared.pooling import OutputSize, output_sizes
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d


@overload
def adaptive_max_pool1d(x: Tensor, output_size: OutputSize, return_indices: Literal[False] = False) -> Tensor: ...
@overload
def adaptive_max_pool1d(
    x: Tensor, output_size: OutputSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]: ...
def adaptive_max_pool1d(
    x: Tensor, output_size: OutputSize, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of each of P windows that cover the sequence.

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    output_size : int
        P; None keeps the input's length.
    return_indices : bool
        Also return the index of each maximum.

    Returns
    -------
    Tensor, (N, C, P) or (C, P), or two of them
        Output p reads elements floor(p L / P) to ceil((p + 1) L / P). Of equal elements the first gets the gradient;
        NaN wins, the last of several. The indices are int64.

    Raises
    ------
    ShapeError
        If x is not such a sequence.
    UsageError, DTypeError
        If the size is invalid, or x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> adaptive_max_pool1d(gpunn.tensor([[[1.0, 5, 3]]]), 2).tolist()
    [[[5.0, 5.0]]]

    References
    ----------
    Lecture topic L15.
    """
    op = "adaptive_max_pool1d"
    if x.ndim not in (2, 3) or 0 in x.shape[-2:]:
        raise ShapeError(f"{here(op)}: expected x of shape (N, C, L) or (C, L) with no axis of 0 but N; got {x.shape}.")
    check_floating(op, x)
    (p,) = output_sizes(op, output_size, x.shape[-1:])
    *before, length = x.shape
    # Images of one channel and one column each, so that nothing moves in memory.
    images = x.reshape(math.prod(before), 1, length, 1)
    if not return_indices:
        return adaptive_max_pool2d(images, (p, 1)).reshape(*before, p)
    y, index = adaptive_max_pool2d(images, (p, 1), True)
    return y.reshape(*before, p), index.reshape(*before, p)
