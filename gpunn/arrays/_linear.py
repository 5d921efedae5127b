"""The product of a fully connected layer, on arrays."""

from __future__ import annotations

from typing import Any

from gpunn.arrays._calling import bilinear, enter, like, merged, physical_of, require_shape, tensor
from gpunn.errors import ShapeError, here
from gpunn.ops.linear import linear as op_linear
from gpunn.ops.linear import linear_backward as gradients_of


def _rows(op: str, x: Any, weight: Any) -> Any:
    """x (..., D) as (N, D)."""
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"{here(op)}: expected x (..., D) and weight (M, D); got {x.shape} and {weight.shape}.")
    return merged(x[None] if x.ndim == 1 else x, 1)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x weight^T + bias, of NumPy or CuPy arrays.

    Parameters
    ----------
    x : array, (..., D)
        float32, float64, complex64 or complex128.
    weight : array, (M, D)
    bias : array, (M,), optional

    Returns
    -------
    array, (..., M)
        On x's device; complex if an input is.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.

    References
    ----------
    Lecture topic L1.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> arrays.linear(np.array([1.0, 2.0]), np.array([[1.0, 1.0], [0.0, -1.0]]), np.array([0.0, 5.0])).tolist()
    [3.0, 3.0]
    """
    op = "linear"
    home = enter(op, complexes=True, x=x, weight=weight, bias=bias)
    rows = _rows(op, x, weight)
    require_shape(op, "bias", bias, weight.shape[:1])

    def product(a: Any, b: Any, shift: Any = None) -> Any:
        last = None if shift is None else tensor(op, shift, home)
        return op_linear(tensor(op, a, home), tensor(op, b, home), last).array

    if "c" in (rows.dtype.kind, weight.dtype.kind, "" if bias is None else bias.dtype.kind):
        y = bilinear(product, rows, weight)
        y = y if bias is None else y + bias
    else:
        y = product(rows, weight, bias)
    return y.reshape(*x.shape[:-1], weight.shape[0])


def linear_backward(
    dy: Any, x: Any, weight: Any, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Any, Any, Any]:
    """The gradients of a loss with respect to the arguments of :func:`linear`, given that of its result.

    Parameters
    ----------
    dy : array, (..., M)
    x : array, (..., D)
    weight : array, (M, D)
    needs : (bool, bool, bool)
        Which gradients to compute: of x, weight, bias.

    Returns
    -------
    dx, dweight, dbias : array or None
        Like x, like weight, and (M,). Of complex arrays d loss / d real + i d loss / d imag, as in PyTorch.

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.

    References
    ----------
    Lecture topic L1.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn import arrays
    >>> dx, dweight, dbias = arrays.linear_backward(np.ones((1, 2)), np.array([[3.0, 4.0]]), np.eye(2))
    >>> dx.tolist(), dweight.tolist(), dbias.tolist()
    ([[1.0, 1.0]], [[3.0, 4.0], [3.0, 4.0]], [1.0, 1.0])
    """
    op = "linear_backward"
    home = enter(op, complexes=True, dy=dy, x=x, weight=weight)
    rows = _rows(op, x, weight)
    require_shape(op, "dy", dy, (*x.shape[:-1], weight.shape[0]))
    given = merged(dy[None] if dy.ndim == 1 else dy, 1)

    def gradients(d: Any, a: Any, b: Any, wanted: tuple[bool, bool, bool]) -> tuple[Any, Any, Any]:
        pd, pa, pb = (physical_of(op, array, home) for array in (d, a, b))
        found: tuple[Any, Any, Any] = gradients_of(home, pd, None, pa, pb, wanted)
        return found

    if "c" not in (dy.dtype.kind, x.dtype.kind, weight.dtype.kind):
        dx, dweight, dbias = gradients(given, rows, weight, needs)
    else:
        dx = dweight = None
        if needs[0]:  # the other array only says how long the gradient is
            real = rows.real
            dx = bilinear(lambda d, b: gradients(d, real, b, (True, False, False))[0], given, weight.conj())
            dx = like(dx, x)
        if needs[1]:
            matrix = weight.real
            dweight = bilinear(lambda d, a: gradients(d, a, matrix, (False, True, False))[1], given, rows.conj())
            dweight = like(dweight, weight)
        dbias = given.sum(axis=0) if needs[2] else None
    return None if dx is None else dx.reshape(x.shape), dweight, dbias
