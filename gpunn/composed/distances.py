"""Distances of all pairs, and products over chosen axes: functions made of other ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._autocast import casting
from gpunn._creation import eye
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.composed.turning import triu_indices
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.add import add
from gpunn.ops.dot import dot, outer
from gpunn.ops.expand import tensors_of
from gpunn.ops.matmul import bmm, matmul, mm
from gpunn.ops.mul import mul
from gpunn.ops.norm import norm
from gpunn.ops.sum import sum_

_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = _MODES[0]) -> Tensor:
    """The p-norms of the differences of all pairs of rows; all (P, R, M) differences are in memory at once.

    Parameters
    ----------
    x1 : Tensor, (..., P, M)
    x2 : Tensor, (..., R, M)
        Floating.
    p : float
        The order of the norm; may be infinite.
    compute_mode : str
        One of PyTorch's; changes nothing: the differences are always made.

    Returns
    -------
    Tensor, (..., P, R)

    Raises
    ------
    ShapeError
        If there are no matrices, or rows of different lengths.
    UsageError
        If ``p`` is negative, or the mode unknown.
    """
    if casting.on:
        x1, x2 = casting.inputs("cdist", x1, x2)
    op = "cdist"
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"{here(op)}: expected x1 (..., P, M) and x2 (..., R, M); got {x1.shape} and {x2.shape}.")
    if compute_mode not in _MODES:
        raise UsageError(f"{here(op)}: compute_mode: expected one of {', '.join(_MODES)}; got {compute_mode!r}.")
    order = real_number(op, "p", p, 0, finite=False)
    return norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), order, -1)


def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of all pairs of different rows, row by row.

    Parameters
    ----------
    x : Tensor, (N, M)
        Floating.
    p : float
        The order of the norm; may be infinite.

    Returns
    -------
    Tensor, (N (N - 1) / 2,)

    Raises
    ------
    ShapeError
        If x is no matrix.
    """
    if casting.on:
        (x,) = casting.inputs("pdist", x)
    op = "pdist"
    if x.ndim != 2:
        raise ShapeError(f"{here(op)}: expected a matrix (N, M); got shape {x.shape}.")
    order = real_number(op, "p", p, 0, finite=False)
    first, second = triu_indices(x.shape[0], x.shape[0], 1, device=x.device)
    return norm(x.index_select(0, first) - x.index_select(0, second), order, -1)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over chosen axes of both.

    Parameters
    ----------
    a, b : Tensor
        Floating, of one dtype.
    dims : int, or pair of sequences of int
        The last axes of a and the first of b, this many; or which axes of a go with which of b.

    Returns
    -------
    Tensor
        With the other axes of a, then those of b.

    Raises
    ------
    ShapeError
        If the axes differ in number or length.
    """
    if casting.applies("tensordot", a):
        a, b = casting.inputs("tensordot", a, b)
        with casting.paused():
            return tensordot(a, b, dims)
    op = "tensordot"
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, list | tuple):
        if len(dims) != 2:
            raise ShapeError(f"{here(op)}: dims: expected axes of a and axes of b; got {dims!r}.")
        left, right = ([axis_of(op, t, d) for d in _listed(op, ds)] for t, ds in zip((a, b), dims, strict=True))
    else:
        count = whole_number(op, "dims", dims, 0)
        if count > min(a.ndim, b.ndim):
            raise ShapeError(f"{here(op)}: dims: expected at most {min(a.ndim, b.ndim)} axes; got {count}.")
        left, right = list(range(a.ndim - count, a.ndim)), list(range(count))
    if len(left) != len(right) or any(a.shape[i] != b.shape[j] for i, j in zip(left, right, strict=True)):
        raise ShapeError(
            f"{here(op)}: dims: expected axes of equal lengths; got axes {left} of {a.shape} and {right} of {b.shape}."
        )
    rows, columns = ([i for i in range(t.ndim) if i not in over] for t, over in ((a, left), (b, right)))
    inner = math.prod(a.shape[i] for i in left)
    first = a.permute(*rows, *left).reshape(math.prod(a.shape[i] for i in rows), inner)
    second = b.permute(*right, *columns).reshape(inner, math.prod(b.shape[i] for i in columns))
    return mm(first, second).reshape([*(a.shape[i] for i in rows), *(b.shape[i] for i in columns)])


def _listed(op: str, axes: Any) -> Sequence[Any]:
    if isinstance(axes, list | tuple):
        return axes
    return [whole_number(op, "dims", axes)]


def inner(x: Tensor, other: Tensor) -> Tensor:
    """The sums of products over the last axes of both; of a number and a tensor the product.

    Parameters
    ----------
    x, other : Tensor
        Floating, of one dtype.
    """
    if not x.ndim or not other.ndim:
        return mul(x, other)
    return tensordot(x, other, ([-1], [-1]))


def vdot(x: Tensor, other: Tensor) -> Tensor:
    """Another name of :func:`gpunn.dot`, as no tensor is complex.

    Parameters
    ----------
    x, other : Tensor, (K,)
    """
    if casting.on:
        x, other = casting.inputs("vdot", x, other)
    return dot(x, other)


def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices, from the left to the right.

    Parameters
    ----------
    *matrices : Tensor, (M, N)
        Or one sequence of them.
    """
    first, *rest = tensors_of("chain_matmul", matrices)
    for other in rest:
        first = mm(first, other)
    return first if rest else first.clone()


def addr(x: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (the outer product of two vectors).

    Parameters
    ----------
    x : Tensor
        Broadcasts to (M, N). Where ``beta`` is 0 its values do not matter.
    vec1 : Tensor, (M,)
    vec2 : Tensor, (N,)
    beta, alpha : float
        Factors.
    """
    if casting.on:
        x, vec1, vec2 = casting.inputs("addr", x, vec1, vec2)
    return _plus(x, outer(vec1, vec2), beta, alpha)


def addbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * x + alpha * (the sum of the products of pairs of matrices).

    Parameters
    ----------
    x : Tensor
        Broadcasts to (M, N). Where ``beta`` is 0 its values do not matter.
    batch1 : Tensor, (B, M, K)
    batch2 : Tensor, (B, K, N)
    beta, alpha : float
        Factors.
    """
    if casting.applies("addbmm", x):
        x, batch1, batch2 = casting.inputs("addbmm", x, batch1, batch2)
        with casting.paused():
            return addbmm(x, batch1, batch2, beta=beta, alpha=alpha)
    return _plus(x, sum_(bmm(batch1, batch2), 0), beta, alpha)


def _plus(x: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    scaled = mul(product, alpha)
    return scaled if not isinstance(beta, Tensor) and beta == 0 else add(mul(x, beta), scaled)


def matrix_power(x: Tensor, n: int) -> Tensor:
    """The product of a square matrix with itself, ``n`` factors.

    Parameters
    ----------
    x : Tensor, (..., M, M)
    n : int
        At least 0; the identity for 0. Inverses have no gradient here: see ``gpunn.linalg.inv``.

    Raises
    ------
    ShapeError
        If the matrices are not square.
    UsageError
        If ``n`` is negative.
    """
    op = "matrix_power"
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{here(op)}: expected square matrices; got shape {x.shape}.")
    count = whole_number(op, "n", n, 0)
    result = eye(x.shape[-1], dtype=x.dtype, device=x.device).expand(x.shape)
    square = x
    while count:
        if count & 1:
            result = matmul(result, square)
        count >>= 1
        square = matmul(square, square) if count else square
    return result.clone() if not n else result
