"""Batch normalisation of arrays, and its gradients."""

from __future__ import annotations

import math
from typing import Any

from gpunn._device import Device
from gpunn._layout import address_of
from gpunn._tensor import Tensor
from gpunn.arrays._calling import enter, require_shape, tensor, tensors
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.batch_norm import batch_norm_backward as gradients_of
from gpunn.ops.batch_norm import batch_norm_normalise, batch_norm_statistics, check_arguments

_Needs = tuple[bool, bool, bool]


def _with_channels(op: str, home: Device, x: Any) -> Tensor:
    """(N, C) or (N, C, ...) as a tensor (N, C) or (N, C, H, W)."""
    if x.ndim < 2:
        raise ShapeError(f"{here(op)}: expected (N, C) or (N, C, ...); got {x.shape}.")
    return tensor(op, x if x.ndim in (2, 4) else x.reshape(*x.shape[:2], 1, math.prod(x.shape[2:])), home)


def _physical(*tensors: Tensor | None) -> tuple[Any, ...]:
    return tuple(None if t is None else t._physical for t in tensors)


def _shaped(y: Any, home: Device, shape: tuple[int, ...]) -> Any:
    return Tensor._of_physical(y, home).array.reshape(shape)


def batch_norm(x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel, of NumPy or CuPy arrays.

    With running estimates this is batch normalisation in evaluation; :func:`batch_norm_training` is the other mode.

    Parameters
    ----------
    x : array, (N, C) or (N, C, ...)
        float32 or float64. A channels-last view (``buffer.transpose(0, 3, 1, 2)``) is read where it is.
    mean, var : array, (C,)
    weight, bias : array, (C,), optional
        1 and 0 if not given.
    eps : float
        Added to the variance.

    Returns
    -------
    array
        Like x.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.batch_norm(np.array([[5.0], [9.0]]), np.array([7.0]), np.array([3.0]), eps=1.0).tolist()
    [[-1.0], [1.0]]
    """
    op = "batch_norm"
    home = enter(op, x=x, mean=mean, var=var, weight=weight, bias=bias)
    images = _with_channels(op, home, x)
    centre, spread, scale, shift = tensors(op, home, mean, var, weight, bias)
    check_arguments(images, centre, spread, scale, shift, None, None)
    y = batch_norm_normalise(home, *_physical(images, centre, spread, scale, shift), None, eps, False)
    return _shaped(y, home, x.shape)


def batch_norm_training(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Any, Any, Any]:
    """Batch normalisation by the statistics of x, of NumPy or CuPy arrays.

    Parameters
    ----------
    x : array, (N, C) or (N, C, ...)
        As for :func:`batch_norm`; more than one value for each channel.
    weight, bias : array, (C,), optional
        1 and 0 if not given.
    running_mean, running_var : array, (C,), optional
        Changed in place: running = (1 - momentum) running + momentum estimate, with the unbiased variance. Contiguous
        arrays that can be written to.
    momentum, eps : float

    Returns
    -------
    y, mean, var : array
        y like x; mean and biased variance (C,), which :func:`batch_norm_backward` needs.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If shapes do not match, dtypes or devices differ, or a running estimate cannot be changed in place.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> y, mean, var = arrays.batch_norm_training(np.array([[5.0], [9.0]]), eps=0.0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0], [1.0]], [7.0], [4.0])
    """
    op = "batch_norm_training"
    home = enter(op, x=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    images = _with_channels(op, home, x)
    old_mean, old_var, scale, shift = tensors(op, home, running_mean, running_var, weight, bias)
    for name, array, made in (("running_mean", running_mean, old_mean), ("running_var", running_var, old_var)):
        if array is not None and address_of(array) != address_of(made.array):
            raise UsageError(
                f"{here(op)}: {name}: expected a contiguous array that can be written to, as it is changed in place."
            )
    check_arguments(images, old_mean, old_var, scale, shift, None, None)
    if images.numel() == images.shape[1]:
        raise ShapeError(f"{here(op)}: expected more than 1 value per channel; got x of shape {x.shape}.")
    px, *moved = _physical(images, old_mean, old_var)
    mean, var = batch_norm_statistics(home, px, *moved, None, momentum)
    y = batch_norm_normalise(home, px, mean, var, *_physical(scale, shift), None, eps, False)
    return _shaped(y, home, x.shape), mean, var


def batch_norm_backward(
    dy: Any,
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    eps: float = 1e-5,
    training: bool = True,
    needs: _Needs = (True, True, True),
) -> tuple[Any, Any, Any]:
    """The gradients of a loss with respect to x, weight and bias of batch normalisation, given that of its result.

    Parameters
    ----------
    dy, x : array
        The gradient of the result, and what was normalised.
    mean, var : array, (C,)
        As :func:`batch_norm_training` returned them, or as given to :func:`batch_norm`.
    weight : array, (C,), optional
    eps : float
    training : bool
        Whether mean and var are those of x, through which the gradient flows too.
    needs : (bool, bool, bool)
        Which gradients to compute: of x, weight, bias.

    Returns
    -------
    dx, dweight, dbias : array or None

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> x, mean, var = np.array([[5.0], [9.0]]), np.array([7.0]), np.array([4.0])
    >>> dx, dweight, dbias = arrays.batch_norm_backward(np.array([[1.0], [3.0]]), x, mean, var, eps=0.0)
    >>> dx.tolist(), dweight.tolist(), dbias.tolist()
    ([[0.0], [0.0]], [2.0], [4.0])
    """
    op = "batch_norm_backward"
    home = enter(op, dy=dy, x=x, mean=mean, var=var, weight=weight)
    require_shape(op, "dy", dy, x.shape)
    images, given = _with_channels(op, home, x), _with_channels(op, home, dy)
    centre, spread, scale = tensors(op, home, mean, var, weight)
    check_arguments(images, centre, spread, scale, None, None, None)
    pdy, px, *others = _physical(given, images, centre, spread, scale)
    dx, dweight, dbias, _ = gradients_of(home, pdy, px, None, *others, None, eps, training, False, (*needs, False))
    return None if dx is None else _shaped(dx, home, x.shape), dweight, dbias
