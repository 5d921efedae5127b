"""Layer and group normalisation of arrays, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.arrays._calling import enter, in_memory_order, require_shape, tensor, tensors
from gpunn.errors import ShapeError, here
from gpunn.ops.group_norm import group_norm as op_group_norm
from gpunn.ops.layer_norm import layer_norm as op_layer_norm
from gpunn.ops.layer_norm import lengths
from gpunn.tape import enable_grad


def _backward(dy: Tensor, leaves: tuple[Tensor | None, ...], y: Any) -> list[Any]:
    """The gradients of ``y(*leaves)``: mean and deviation, which they need, are what the forward pass computes."""
    for leaf in leaves:
        if leaf is not None:
            leaf.requires_grad_()
    with enable_grad():
        y(*leaves).backward(dy)
    return [None if leaf is None or leaf.grad is None else leaf.grad.array for leaf in leaves]


def _rows(op: str, shape: tuple[int, ...], *arrays: Any) -> list[Any]:
    """Arrays that end in ``shape`` as matrices, or vectors if they are no longer than that."""
    cols = math.prod(shape)
    return [
        None if a is None else a.reshape(cols) if a.shape == shape else a.reshape(math.prod(a.shape) // cols, cols)
        for a in arrays
    ]


def _check_rows(op: str, x: Any, normalized_shape: int | Sequence[int], weight: Any, bias: Any) -> tuple[int, ...]:
    shape = lengths(op, normalized_shape)
    if x.shape[x.ndim - len(shape) :] != shape or x.ndim < len(shape):
        raise ShapeError(f"{here(op)}: expected x to end in normalized_shape {shape}; got {x.shape}.")
    require_shape(op, "weight", weight, shape)
    require_shape(op, "bias", bias, shape)
    return shape


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise the last axes to zero mean and unit variance, then scale and shift, of NumPy or CuPy arrays.

    Parameters
    ----------
    x : array, (..., *normalized_shape)
        float32 or float64.
    normalized_shape : int or sequence of int
    weight, bias : array of ``normalized_shape``, optional
        1 and 0 if not given.
    eps : float
        Added to the variance.

    Returns
    -------
    array
        Like x.

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.

    References
    ----------
    Ba, Kiros, Hinton 2016, arXiv:1607.06450; lecture topic L8.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.layer_norm(np.array([[1.0, 3.0], [5.0, 5.0]]), 2, eps=3.0).tolist()
    [[-0.5, 0.5], [0.0, 0.0]]
    """
    op = "layer_norm"
    home = enter(op, x=x, weight=weight, bias=bias)
    shape = _check_rows(op, x, normalized_shape, weight, bias)
    given = (x[None] if x.shape == shape else x, weight, bias)
    rows, scale, shift = tensors(op, home, *_rows(op, shape, *given))
    return op_layer_norm(rows, math.prod(shape), scale, shift, eps).array.reshape(x.shape)


def layer_norm_backward(
    dy: Any, x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """The gradients of a loss with respect to x, weight and bias of :func:`layer_norm`, given that of its result.

    Parameters
    ----------
    dy, x : array
        The gradient of the result, and what was normalised; its statistics are computed again.
    normalized_shape, weight, eps
        As for layer_norm.

    Returns
    -------
    dx, dweight, dbias : array

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.

    References
    ----------
    Ba, Kiros, Hinton 2016, arXiv:1607.06450; lecture topic L8.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> dx, dweight, dbias = arrays.layer_norm_backward(np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]), 2, eps=3.0)
    >>> dx.tolist(), dweight.tolist(), dbias.tolist()
    ([[-0.1875, 0.1875]], [-0.5, 1.0], [1.0, 2.0])
    """
    op = "layer_norm_backward"
    home = enter(op, dy=dy, x=x, weight=weight)
    shape = _check_rows(op, x, normalized_shape, weight, None)
    require_shape(op, "dy", dy, x.shape)
    scale = home.xp.ones(shape, x.dtype) if weight is None else weight
    arrays = (*(a[None] if a.shape == shape else a for a in (dy, x)), scale, home.xp.zeros(shape, x.dtype))
    given, *leaves = tensors(op, home, *_rows(op, shape, *arrays))
    dx, dweight, dbias = _backward(given, tuple(leaves), lambda t, w, b: op_layer_norm(t, math.prod(shape), w, b, eps))
    return dx.reshape(x.shape), dweight.reshape(shape), dbias.reshape(shape)


def _grouped(op: str, home: Device, x: Any) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"{here(op)}: expected x of shape (N, C, ...); got {x.shape}.")
    images = in_memory_order(x)[1]
    return tensor(op, x if images or x.ndim < 4 else x.reshape(*x.shape[:2], math.prod(x.shape[2:])), home)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise each group of channels of each item, then scale and shift by channel, of NumPy or CuPy arrays.

    Parameters
    ----------
    x : array, (N, C, ...)
        float32 or float64.
    num_groups : int
        Parts of C / num_groups neighbouring channels.
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
    ShapeError, UsageError, DTypeError, DeviceError
        As by :func:`gpunn.nn.functional.group_norm`.

    References
    ----------
    Wu, He 2018, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.group_norm(np.array([[1.0, 3.0, 5.0, 5.0]]), 2, eps=3.0).tolist()
    [[-0.5, 0.5, 0.0, 0.0]]
    """
    op = "group_norm"
    home = enter(op, x=x, weight=weight, bias=bias)
    scale, shift = tensors(op, home, weight, bias)
    return op_group_norm(_grouped(op, home, x), num_groups, scale, shift, eps).array.reshape(x.shape)


def group_norm_backward(
    dy: Any, x: Any, num_groups: int, weight: Any = None, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """The gradients of a loss with respect to x, weight and bias of :func:`group_norm`, given that of its result.

    Parameters
    ----------
    dy, x : array
        The gradient of the result, and what was normalised; its statistics are computed again.
    num_groups, weight, eps
        As for group_norm.

    Returns
    -------
    dx, dweight, dbias : array

    Raises
    ------
    ShapeError, UsageError, DTypeError, DeviceError
        As by :func:`gpunn.nn.functional.group_norm`, or if dy is not like x.

    References
    ----------
    Wu, He 2018, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> dx, dweight, dbias = arrays.group_norm_backward(np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]), 1, eps=3.0)
    >>> dx.tolist(), dweight.tolist(), dbias.tolist()
    ([[-0.1875, 0.1875]], [-0.5, 1.0], [1.0, 2.0])
    """
    op = "group_norm_backward"
    home = enter(op, dy=dy, x=x, weight=weight)
    require_shape(op, "dy", dy, x.shape)
    images = _grouped(op, home, x)
    channels = (images.shape[1],)
    scale = home.xp.ones(channels, x.dtype) if weight is None else weight
    leaves = (images, *tensors(op, home, scale, home.xp.zeros(channels, x.dtype)))
    given = tensor(op, dy.reshape(images.shape), home)
    dx, dweight, dbias = _backward(given, leaves, lambda t, w, b: op_group_norm(t, num_groups, w, b, eps))
    return dx.reshape(x.shape), dweight, dbias
