"""beta * x + alpha * (a product of matrices): addmm, addmv and baddbmm, composed of ops that have kernels."""

from __future__ import annotations

from typing import Any

from gpunn._autocast import casting
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.ops.add import add
from gpunn.ops.dot import mv
from gpunn.ops.matmul import bmm, mm
from gpunn.ops.mul import mul


def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (mat1 @ mat2).

    Parameters
    ----------
    x : Tensor
        Broadcasts to (M, N). Where ``beta`` is 0 its values do not matter, not even NaN.
    mat1 : Tensor, (M, K)
    mat2 : Tensor, (K, N)
        Floating, all of one dtype.
    beta, alpha : float
        Factors.

    Returns
    -------
    Tensor, (M, N)

    Raises
    ------
    ShapeError
        If the matrices do not match, or x does not broadcast to their product.
    """
    if casting.on:
        x, mat1, mat2 = casting.inputs("addmm", x, mat1, mat2)
    return _plus("addmm", x, mm(mat1, mat2), beta, alpha)


def addmv(x: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (mat @ vec).

    Parameters
    ----------
    x : Tensor
        Broadcasts to (M,); see :func:`gpunn.addmm`.
    mat : Tensor, (M, K)
    vec : Tensor, (K,)
    beta, alpha : float
        Factors.

    Returns
    -------
    Tensor, (M,)

    Raises
    ------
    ShapeError
        If matrix and vector do not match, or x does not broadcast to their product.
    """
    if casting.on:
        x, mat, vec = casting.inputs("addmv", x, mat, vec)
    return _plus("addmv", x, mv(mat, vec), beta, alpha)


def baddbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (batch1 @ batch2), for each pair of matrices.

    Parameters
    ----------
    x : Tensor
        Broadcasts to (B, M, N); see :func:`gpunn.addmm`.
    batch1 : Tensor, (B, M, K)
    batch2 : Tensor, (B, K, N)
    beta, alpha : float
        Factors.

    Returns
    -------
    Tensor, (B, M, N)

    Raises
    ------
    ShapeError
        If the batches do not match, or x does not broadcast to their product.
    """
    if casting.on:
        x, batch1, batch2 = casting.inputs("baddbmm", x, batch1, batch2)
    return _plus("baddbmm", x, bmm(batch1, batch2), beta, alpha)


def _plus(op: str, x: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    wide = (*(1,) * (product.ndim - x.ndim), *x.shape)
    if len(wide) != product.ndim or any(n not in (1, m) for n, m in zip(wide, product.shape, strict=True)):
        raise ShapeError(
            f"{here(op)}: expected x to broadcast to the product's shape {product.shape}; got shape {x.shape}."
        )
    if not isinstance(beta, Tensor) and beta == 0:
        return mul(product, alpha)
    return add(x if not isinstance(beta, Tensor) and beta == 1 else mul(x, beta), product, alpha=alpha)
