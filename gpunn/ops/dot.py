"""Products of vectors: dot, mv, outer and ger, composed of products that have kernels."""

from __future__ import annotations

from gpunn._autocast import casting
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.ops.matmul import matmul
from gpunn.ops.mul import mul
from gpunn.ops.sum import sum_


def dot(x: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements.

    Parameters
    ----------
    x, tensor : Tensor, (K,)
        Of one dtype.

    Returns
    -------
    Tensor
        A number, of the same dtype.

    Raises
    ------
    ShapeError
        If they are not two vectors of one length.
    DTypeError
        If their dtypes differ.

    Examples
    --------
    >>> import gpunn
    >>> dot(gpunn.tensor([1.0, 2.0]), gpunn.tensor([3.0, 4.0])).item()
    11.0
    """
    if casting.on:
        x, tensor = casting.inputs("dot", x, tensor)
    if x.ndim != 1 or x.shape != tensor.shape:
        raise ShapeError(
            f"{here('dot')}: expected two vectors of one length; got {x.shape} and {tensor.shape}. "
            "matmul multiplies matrices, and (a * b).sum() adds up over all axes."
        )
    _same_dtype("dot", x, tensor)
    return matmul(x, tensor) if x.dtype.kind in FLOATING else sum_(mul(x, tensor)).to(x.dtype)


def mv(x: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector.

    Parameters
    ----------
    x : Tensor, (M, K)
    vec : Tensor, (K,)
        Of x's dtype, which is floating.

    Returns
    -------
    Tensor, (M,)

    Raises
    ------
    ShapeError
        If they are not a matrix and a vector of matching lengths.
    """
    if casting.on:
        x, vec = casting.inputs("mv", x, vec)
    if x.ndim != 2 or vec.ndim != 1 or x.shape[1] != vec.shape[0]:
        raise ShapeError(
            f"{here('mv')}: expected a matrix (M, K) and a vector (K,); got {x.shape} and {vec.shape}. "
            "matmul broadcasts."
        )
    return matmul(x, vec)


def outer(x: Tensor, vec2: Tensor) -> Tensor:
    """y[i, j] = x[i] * vec2[j].

    Parameters
    ----------
    x : Tensor, (M,)
    vec2 : Tensor, (N,)
        Dtypes meet as those of a product do.

    Returns
    -------
    Tensor, (M, N)

    Raises
    ------
    ShapeError
        If they are not two vectors.

    Examples
    --------
    >>> import gpunn
    >>> outer(gpunn.tensor([1, 2]), gpunn.tensor([3, 4])).tolist()
    [[3, 4], [6, 8]]
    """
    return _outer("outer", x, vec2)


def ger(x: Tensor, vec2: Tensor) -> Tensor:
    """An older name of :func:`gpunn.outer`.

    Parameters
    ----------
    x : Tensor, (M,)
    vec2 : Tensor, (N,)
    """
    return _outer("ger", x, vec2)


def _outer(op: str, x: Tensor, vec2: Tensor) -> Tensor:
    if x.ndim != 1 or vec2.ndim != 1:
        raise ShapeError(f"{here(op)}: expected two vectors; got shapes {x.shape} and {vec2.shape}.")
    return mul(x.unsqueeze(1), vec2)


def _same_dtype(op: str, a: Tensor, b: Tensor) -> None:
    if a.dtype != b.dtype:
        raise DTypeError(f"{here(op)}: expected one dtype; got {a.dtype} and {b.dtype}. Convert with .to(dtype).")
