"""Pooling by the p-norm of each window."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn._shared.activations import check_floating, number
from gpunn._tensor import Tensor
from gpunn._window import Pair, pair, single, triple
from gpunn.composed.pool3d import avg_pool3d
from gpunn.errors import UsageError, here
from gpunn.ops.avg_pool1d import avg_pool1d
from gpunn.ops.avg_pool2d import avg_pool2d
from gpunn.ops.pow import pow_
from gpunn.ops.relu import relu
from gpunn.ops.unary import abs_, sign


def lp_pool1d(
    x: Tensor, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False
) -> Tensor:
    """The root of the sum of powers of each window of a sequence: (sum of x ** p) ** (1 / p).

    Parameters
    ----------
    x : Tensor, (N, C, L) or (C, L)
        float32 or float64.
    norm_type : float
        p, not 0. 1 is a sum; a large one comes near the maximum.
    kernel_size, stride : int
        The stride is the kernel size if not given.
    ceil_mode : bool
        Round the output size up instead of down.

    Returns
    -------
    Tensor, (N, C, P) or (C, P)
        NaN where the sum of powers is negative and has no such root, as in PyTorch.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a sequence, is shorter than the window, or not floating.
    UsageError
        If an argument is invalid.

    References
    ----------
    Sermanet, Chintala, LeCun 2012, arXiv:1204.3968.
    """
    op = "lp_pool1d"
    size = single(kernel_size, op, "kernel_size", 1)
    return _pooled(op, x, norm_type, size, lambda powers: avg_pool1d(powers, kernel_size, stride, 0, ceil_mode))


def lp_pool2d(
    x: Tensor, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False
) -> Tensor:
    """The root of the sum of powers of each window of an image: (sum of x ** p) ** (1 / p).

    Parameters
    ----------
    x : Tensor, (N, C, H, W) or (C, H, W)
        float32 or float64.
    norm_type : float
        p, not 0. 1 is a sum; a large one comes near the maximum.
    kernel_size, stride : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given.
    ceil_mode : bool
        Round the output size up instead of down.

    Returns
    -------
    Tensor, (N, C, P, Q) or (C, P, Q)
        NaN where the sum of powers is negative and has no such root, as in PyTorch.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such an image, is smaller than the window, or not floating.
    UsageError
        If an argument is invalid.

    References
    ----------
    Sermanet, Chintala, LeCun 2012, arXiv:1204.3968.
    """
    op = "lp_pool2d"
    size = math.prod(pair(kernel_size, op, "kernel_size", 1))
    return _pooled(op, x, norm_type, size, lambda powers: avg_pool2d(powers, kernel_size, stride, 0, ceil_mode))


def lp_pool3d(
    x: Tensor, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False
) -> Tensor:
    """The root of the sum of powers of each window of a volume: (sum of x ** p) ** (1 / p).

    Parameters
    ----------
    x : Tensor, (N, C, D, H, W) or (C, D, H, W)
        float32 or float64.
    norm_type : float
        p, not 0. 1 is a sum; a large one comes near the maximum.
    kernel_size, stride : int or (int, int, int)
        Along depth, vertical, horizontal. The stride is the kernel size if not given.
    ceil_mode : bool
        Round the output size up instead of down.

    Returns
    -------
    Tensor, (N, C, O, P, Q) or (C, O, P, Q)
        NaN where the sum of powers is negative and has no such root, as in PyTorch.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a volume, is smaller than the window, or not floating.
    UsageError
        If an argument is invalid.

    References
    ----------
    Sermanet, Chintala, LeCun 2012, arXiv:1204.3968.
    """
    op = "lp_pool3d"
    size = math.prod(triple(kernel_size, op, "kernel_size", 1))
    return _pooled(op, x, norm_type, size, lambda powers: avg_pool3d(powers, kernel_size, stride, 0, ceil_mode))


def _pooled(op: str, x: Tensor, norm_type: Any, size: int, average: Callable[[Tensor], Tensor]) -> Tensor:
    check_floating(op, x)
    p = number(op, "norm_type", norm_type)
    if p == 0:
        raise UsageError(f"{here(op)}: norm_type: expected another number than 0; got {norm_type}.")
    means = average(pow_(x, p))
    return pow_(sign(means) * relu(abs_(means)) * size, 1 / p)
