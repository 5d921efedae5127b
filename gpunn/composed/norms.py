"""Normalisations made of other ops: of each item's channels, by the root of the mean square, to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunn._autocast import casting
from gpunn._shared.activations import check_floating, number
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.avg_pool2d import avg_pool2d
from gpunn.ops.batch_norm import batch_norm
from gpunn.ops.clamp import clamp
from gpunn.ops.group_norm import group_norm
from gpunn.ops.layer_norm import lengths
from gpunn.ops.norm import norm
from gpunn.ops.pad import pad
from gpunn.ops.pow import pow_
from gpunn.ops.sum import mean
from gpunn.ops.unary import rsqrt, square
from gpunn.ops.var import var
from gpunn.tape import no_grad


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each item to zero mean and unit variance over its positions, then scale and shift.

    Parameters
    ----------
    x : Tensor, (N, C, *)
        float32 or float64.
    running_mean, running_var : Tensor, (C,), optional
        Estimates, which are moved towards the items' mean and unbiased variance, or used in their place.
    weight, bias : Tensor, (C,), optional
    use_input_stats : bool
        Whether x's own statistics are used; else the estimates.
    momentum : float
        Weight of the newest batch in the estimates.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        If x has no positions or only one, or a tensor has other channels.
    DTypeError, DeviceError
        If the tensors are not of one floating dtype and one device.
    UsageError
        If one of the estimates is given without the other.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """
    op = "instance_norm"
    check_floating(op, x)
    if x.ndim < 3:
        raise ShapeError(f"{here(op)}: expected x (N, C, *) with positions; got {x.shape}.")
    if (running_mean is None) != (running_var is None):
        raise UsageError(f"{here(op)}: expected running_mean and running_var, or neither; got one of them.")
    if not use_input_stats:
        flat = x if x.ndim == 4 else x.reshape(*x.shape[:2], 1, -1)
        return batch_norm(flat, running_mean, running_var, weight, bias, False, momentum, eps).reshape(x.shape)
    positions = math.prod(x.shape[2:])
    if positions == 1:
        raise ShapeError(
            f"{here(op)}: expected more than 1 position in each channel; got x of shape {x.shape}, all of which would "
            "become 0."
        )
    y = group_norm(x, x.shape[1], weight, bias, eps)
    if running_mean is not None and running_var is not None and len(x):
        with no_grad():
            flat = x.detach().reshape(*x.shape[:2], positions)
            for running, newest in (
                (running_mean, mean(mean(flat, 2), 0)),
                (running_var, mean(var(flat, 2), 0)),
            ):
                running.mul_(1 - momentum).add_(newest * momentum)
    return y


def rms_norm(
    x: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x²) + eps) * weight, with the mean over trailing axes.

    Parameters
    ----------
    x : Tensor, (..., *normalized_shape)
        float32 or float64.
    normalized_shape : int or sequence of int
        Lengths of the trailing axes.
    weight : Tensor of ``normalized_shape``, optional
    eps : float, optional
        Added to the mean; the dtype's distance from 1 to the next number if not given.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError
        If x does not end in ``normalized_shape``, or the weight has another shape.
    DTypeError, UsageError
        If x is not floating, or ``normalized_shape`` is no shape.

    Examples
    --------
    >>> import gpunn
    >>> rms_norm(gpunn.tensor([[3.0, 4.0, 0.0, 0.0]]), 4, eps=0.0).tolist()
    [[1.2000000476837158, 1.600000023841858, 0.0, 0.0]]

    References
    ----------
    Zhang, Sennrich 2019, arXiv:1910.07467.
    """
    if casting.on:
        x, weight = casting.inputs("rms_norm", x, weight)
    op = "rms_norm"
    check_floating(op, x)
    shape = lengths(op, normalized_shape)
    if x.shape[-len(shape) :] != shape:
        raise ShapeError(f"{here(op)}: expected x that ends in {shape}; got {x.shape}.")
    if weight is not None and weight.shape != shape:
        raise ShapeError(f"{here(op)}: weight: expected shape {shape}; got {weight.shape}.")
    added = float(np.finfo(x.dtype).eps) if eps is None else eps
    y = x * rsqrt(mean(square(x), tuple(range(-len(shape), 0)), keepdim=True) + added)
    return y if weight is None else y * weight


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12) -> Tensor:
    """Vectors divided by their p-norm.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    p : float
        The order of the norm.
    dim : int or sequence of int
        The axis of the vectors.
    eps : float
        The least number to divide by.

    Returns
    -------
    Tensor
        Like input.

    Raises
    ------
    DTypeError, UsageError
        If input is not floating, or ``dim`` is no axis of it.

    Examples
    --------
    >>> import gpunn
    >>> normalize(gpunn.tensor([[3.0, 4.0], [0.0, 0.0]]), p=1).tolist()
    [[0.4285714328289032, 0.5714285969734192], [0.0, 0.0]]

    References
    ----------
    Of PyTorch; its source names none.
    """
    check_floating("normalize", input)
    return input / clamp(norm(input, p, dim, keepdim=True), min=eps)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean(x²)) ** beta, with the mean over ``size`` neighbouring channels at the same position.

    Parameters
    ----------
    x : Tensor, (N, C, *)
        float32 or float64.
    size : int
        How many channels; beyond the first and the last channel there are zeros, which count in the mean.
    alpha, beta, k : float

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    ShapeError, DTypeError
        If x has less than three axes, or is not floating.
    UsageError
        If size is not a positive whole number, or another argument no finite number.

    Notes
    -----
    The paper's sum is not divided by ``size``: its alpha is this one over ``size``.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", 3.3.
    """
    if casting.on:
        (x,) = casting.inputs("local_response_norm", x)
    op = "local_response_norm"
    check_floating(op, x)
    if x.ndim < 3:
        raise ShapeError(f"{here(op)}: expected x (N, C, *) with at least three axes; got shape {x.shape}.")
    size = whole_number(op, "size", size, 1)
    alpha, beta, k = number(op, "alpha", alpha), number(op, "beta", beta), number(op, "k", k)
    if 0 in x.shape:
        return x * 1
    n, c = x.shape[:2]
    # Channels as the rows of an image of one channel, in the order in which they lie in memory but for images.
    squares = pad(square(x).reshape(n, 1, c, -1), (0, 0, size // 2, (size - 1) // 2))
    means = avg_pool2d(squares, (size, 1), 1)
    return x / pow_(means * alpha + k, beta).reshape(x.shape)
