"""Softmax of arrays and its logarithm, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn._tensor import Tensor
from gpunn.arrays._calling import enter, in_memory_order, require_shape, tensor
from gpunn.ops.log_softmax import log_softmax as op_log_softmax
from gpunn.ops.log_softmax import log_softmax_backward as log_softmax_gradient
from gpunn.ops.softmax import softmax as op_softmax
from gpunn.ops.softmax import softmax_axis
from gpunn.ops.softmax import softmax_backward as softmax_gradient


def _lines(op: str, x: Any, axis: int, *others: Any) -> tuple[list[Any], int]:
    """The arrays so that C order shares their memory where possible, and the axis there."""
    softmax_axis(op, x, axis)  # raises if there is none
    if in_memory_order(x)[1]:
        return [x, *others], axis
    at = axis % max(x.ndim, 1)
    shape = (math.prod(x.shape[:at]), math.prod(x.shape[at : at + 1]), math.prod(x.shape[at + 1 :]))
    return [a.reshape(shape) for a in (x, *others)], 1


def _along(op: str, x: Any, axis: int, function: Callable[[Tensor, int], Tensor]) -> Any:
    home = enter(op, x=x)
    (lines,), at = _lines(op, x, axis)
    return function(tensor(op, lines, home), at).array.reshape(x.shape)


def _along_back(op: str, dy: Any, y: Any, axis: int, gradient: Callable[..., Any]) -> Any:
    home = enter(op, dy=dy, y=y)
    require_shape(op, "dy", dy, y.shape)
    (lines, given), at = _lines(op, y, axis, dy)
    of_y, of_dy = tensor(op, lines, home), tensor(op, given, home)
    dx = gradient(home, of_dy._physical, of_y._physical, softmax_axis(op, of_y, at))
    return Tensor._of_physical(dx, home).array.reshape(y.shape)


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along one axis, of a NumPy or CuPy array.

    Parameters
    ----------
    x : array
        float32 or float64, any shape.
    axis : int

    Returns
    -------
    array
        Like x.

    Raises
    ------
    UsageError, DTypeError
        If x has no such axis, or is not floating.

    References
    ----------
    Lecture topic L2.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.softmax(np.array([1e4, 1e4])).tolist()
    [0.5, 0.5]
    """
    return _along("softmax", x, axis, op_softmax)


def softmax_backward(dy: Any, y: Any, axis: int = -1) -> Any:
    """The gradient of a loss with respect to x of :func:`softmax`: y (dy - sum(dy y)).

    Parameters
    ----------
    dy, y : array
        The gradient of the result, and the result.
    axis : int

    Returns
    -------
    array
        Like y.

    Raises
    ------
    UsageError, ShapeError, DTypeError, DeviceError
        If there is no such axis, or shapes, dtypes or devices differ.

    References
    ----------
    Lecture topic L2.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5])).tolist()
    [0.25, -0.25]
    """
    return _along_back("softmax_backward", dy, y, axis, softmax_gradient)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log(sum(exp(x))) along one axis, of a NumPy or CuPy array.

    Parameters
    ----------
    x : array
        float32 or float64, any shape.
    axis : int

    Returns
    -------
    array
        Like x.

    Raises
    ------
    UsageError, DTypeError
        If x has no such axis, or is not floating.

    References
    ----------
    Lecture topic L2.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.log_softmax(np.array([0.0, -1e4])).tolist()
    [0.0, -10000.0]
    """
    return _along("log_softmax", x, axis, op_log_softmax)


def log_softmax_backward(dy: Any, y: Any, axis: int = -1) -> Any:
    """The gradient of a loss with respect to x of :func:`log_softmax`: dy - exp(y) sum(dy).

    Parameters
    ----------
    dy, y : array
        The gradient of the result, and the result.
    axis : int

    Returns
    -------
    array
        Like y.

    Raises
    ------
    UsageError, ShapeError, DTypeError, DeviceError
        If there is no such axis, or shapes, dtypes or devices differ.

    References
    ----------
    Lecture topic L2.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.25, 0.75]))).tolist()
    [0.75, -0.75]
    """
    return _along_back("log_softmax_backward", dy, y, axis, log_softmax_gradient)
