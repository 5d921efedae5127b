"""Activations of arrays, element by element, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn._tensor import Tensor
from gpunn.arrays._calling import enter, in_memory_order, physical_of, require_shape, tensor
from gpunn.errors import UsageError, here
from gpunn.ops.gelu import gelu as op_gelu
from gpunn.ops.gelu import gelu_backward as gelu_gradient
from gpunn.ops.relu import relu as op_relu
from gpunn.ops.relu import relu_backward as relu_gradient
from gpunn.ops.sigmoid import sigmoid as op_sigmoid
from gpunn.ops.sigmoid import sigmoid_backward as sigmoid_gradient
from gpunn.ops.tanh import tanh as op_tanh
from gpunn.ops.tanh import tanh_backward as tanh_gradient


def _elementwise(op: str, x: Any, function: Callable[[Tensor], Tensor]) -> Any:
    home = enter(op, x=x)
    flat, _ = in_memory_order(x)
    return function(tensor(op, flat, home)).array.reshape(x.shape)


def _elementwise_back(op: str, dy: Any, name: str, other: Any, gradient: Callable[..., Any], *more: Any) -> Any:
    home = enter(op, dy=dy, **{name: other})
    require_shape(op, "dy", dy, other.shape)
    flat, images = in_memory_order(other)
    given = dy if images else dy.reshape(-1)
    dx = gradient(home, physical_of(op, given, home), physical_of(op, flat, home), *more)
    return dx.transpose(0, 3, 1, 2) if images else dx.reshape(dy.shape)


def relu(x: Any) -> Any:
    """max(x, 0), element by element, of a NumPy or CuPy array.

    Parameters
    ----------
    x : array
        float32 or float64, any shape.

    Returns
    -------
    array
        Like x. NaN stays NaN.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines"; lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.relu(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _elementwise("relu", x, op_relu)


def relu_backward(dy: Any, y: Any) -> Any:
    """The gradient of a loss with respect to x of :func:`relu`: 0 where y is 0, else dy.

    Parameters
    ----------
    dy, y : array
        The gradient of the result, and the result.

    Returns
    -------
    array
        Like dy.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes, dtypes or devices differ.

    References
    ----------
    Lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.relu_backward(np.array([5.0, 6.0]), np.array([0.0, 2.0])).tolist()
    [0.0, 6.0]
    """
    return _elementwise_back("relu_backward", dy, "y", y, relu_gradient)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x times the probability that a normally distributed number is below x, of a NumPy or CuPy array.

    Parameters
    ----------
    x : array
        float32 or float64, any shape.
    approximate : str
        "none", or "tanh"; see :func:`gpunn.nn.functional.gelu`.

    Returns
    -------
    array
        Like x.

    Raises
    ------
    DTypeError, UsageError
        If x is not floating, or ``approximate`` is neither.

    References
    ----------
    Hendrycks, Gimpel 2016, arXiv:1606.08415; lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.gelu(np.array([-10.0, 0.0, 10.0])).tolist()
    [-0.0, 0.0, 10.0]
    """
    return _elementwise("gelu", x, lambda t: op_gelu(t, approximate))


def gelu_backward(dy: Any, x: Any, approximate: str = "none") -> Any:
    """The gradient of a loss with respect to x of :func:`gelu`.

    Parameters
    ----------
    dy, x : array
        The gradient of the result, and gelu's argument.
    approximate : str
        As for gelu.

    Returns
    -------
    array
        Like x.

    Raises
    ------
    ShapeError, DTypeError, DeviceError, UsageError
        If shapes, dtypes or devices differ, or ``approximate`` is neither.

    References
    ----------
    Hendrycks, Gimpel 2016, arXiv:1606.08415.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.gelu_backward(np.array([2.0]), np.array([0.0])).tolist()
    [1.0]
    """
    if approximate not in ("none", "tanh"):
        raise UsageError(f"{here('gelu_backward')}: approximate: expected 'none' or 'tanh'; got {approximate!r}.")
    return _elementwise_back("gelu_backward", dy, "x", x, gelu_gradient, approximate == "tanh")


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), element by element, of a NumPy or CuPy array.

    Parameters
    ----------
    x : array
        float32 or float64, any shape.

    Returns
    -------
    array
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.sigmoid(np.array([0.0])).tolist()
    [0.5]
    """
    return _elementwise("sigmoid", x, op_sigmoid)


def sigmoid_backward(dy: Any, y: Any) -> Any:
    """The gradient of a loss with respect to x of :func:`sigmoid`: dy y (1 - y).

    Parameters
    ----------
    dy, y : array
        The gradient of the result, and the result.

    Returns
    -------
    array
        Like y.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes, dtypes or devices differ.

    References
    ----------
    Lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.sigmoid_backward(np.array([8.0]), np.array([0.5])).tolist()
    [2.0]
    """
    return _elementwise_back("sigmoid_backward", dy, "y", y, sigmoid_gradient)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent, element by element, of a NumPy or CuPy array.

    Parameters
    ----------
    x : array
        float32 or float64, any shape.

    Returns
    -------
    array
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.tanh(np.array([0.0])).tolist()
    [0.0]
    """
    return _elementwise("tanh", x, op_tanh)


def tanh_backward(dy: Any, y: Any) -> Any:
    """The gradient of a loss with respect to x of :func:`tanh`: dy (1 - y^2).

    Parameters
    ----------
    dy, y : array
        The gradient of the result, and the result.

    Returns
    -------
    array
        Like y.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes, dtypes or devices differ.

    References
    ----------
    Lecture topic L4.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.tanh_backward(np.array([8.0]), np.array([0.5])).tolist()
    [6.0]
    """
    return _elementwise_back("tanh_backward", dy, "y", y, tanh_gradient)
