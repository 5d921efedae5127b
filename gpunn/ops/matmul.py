"""Matrix products (``kernels/gemm.cu``): ``a @ b``, and the primitive that linear layers are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device, same_device
from gpunn._half import FLOATING
from gpunn._interop import constants
from gpunn._rows import is_image, rows_of
from gpunn._tensor import Tensor
from gpunn.cpu import matmul as fast
from gpunn.errors import ArgumentError, DTypeError, ShapeError, here
from gpunn.gpu import half
from gpunn.gpu.choices import Way, best
from gpunn.gpu.gemm import BATCHED, choose_tile, launch_batched, launch_gemm, tiles_of
from gpunn.gpu.launcher import vector_width
from gpunn.ops.binary import repeat_to, unbroadcast
from gpunn.ops.permute import to_logical_order, to_physical_order
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("c",))
def gemm(xp: Any, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    """c (M, N) = act(a b + bias): form "nn" a (M, K) b (K, N); "nt" b (N, K) transposed; "tn" a (K, M) transposed.

    Only "nt", the form of linear layers, takes a bias or a ReLU.
    """
    c = xp.matmul(a.T if form[0] == "t" else a, b.T if form[1] == "t" else b)
    if bias is not None:
        c = c + bias
    return xp.maximum(c, c.dtype.type(0)) if relu else c


gemm.numpy(fast.gemm)


@gemm.kernel
def _(device: Device, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    m, k = a.shape if form[0] == "n" else a.shape[::-1]
    n = b.shape[1] if form[1] == "n" else b.shape[0]
    c = device.empty((m, n), a.dtype)
    if form == "nt":
        launch_gemm(device, form, (m, n, k), (c,), (a, b, bias), (int(relu),))
    elif form == "nn":
        launch_gemm(device, form, (m, n, k), (c,), (a, b, None))
    else:
        launch_gemm(device, form, (m, n, k), (c, None, None), (a, None, b))
    return c


@gemm.half_kernel
def _(device: Device, a: Any, b: Any, form: str, bias: Any = None, relu: bool = False) -> Any:
    return half.product(device, a, b, form, bias, relu)


# -- many products at once ------------------------------------------------------------------------


@primitive(returns=("c",))
def matmul_batched(xp: Any, a: Any, b: Any, form: str) -> Any:
    """c[i] (M, N) = a[i] b[i] in the forms of :func:`gemm`; an operand with one matrix is shared by all products."""
    return xp.matmul(a.swapaxes(1, 2) if form[0] == "t" else a, b.swapaxes(1, 2) if form[1] == "t" else b)


matmul_batched.numpy(fast.matmul_batched)


@matmul_batched.kernel
def _(device: Device, a: Any, b: Any, form: str) -> Any:
    m, k = a.shape[1:] if form[0] == "n" else a.shape[:0:-1]
    n = b.shape[2] if form[1] == "n" else b.shape[1]
    count = max(len(a), len(b)) if len(a) and len(b) else 0
    c = device.empty((count, m, n), a.dtype)
    vec = min(vector_width(array.shape[2], array) for array in (a, b))
    # A matrix shared by all products has step 0.
    a_step, b_step = (array.shape[1] * array.shape[2] if len(array) > 1 else 0 for array in (a, b))

    def run(way: Way) -> None:
        for start in range(0, count, 65532):  # CUDA's limit on grid.z, rounded down to keep parts aligned
            part = slice(start, min(count, start + 65532))
            left, right = (array[part] if len(array) > 1 else array for array in (a, b))
            launch_batched(device, form, c[part], left, right, (m, n, k), (a_step, b_step), way[0])

    known, rule = (m, n, k, count, a.dtype.name, vec), (choose_tile(m, n, count),)
    best(device, BATCHED, f"gemm_batched_{form}", known, rule, lambda: [(tile,) for tile in tiles_of(m, n)], run)
    return c


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a @ b, like ``torch.matmul``.

    Parameters
    ----------
    a : Tensor, (..., M, K) or (K,)
    b : Tensor, (..., K, N) or (K,)
        Floating, of a's dtype and device. Leading axes are broadcast; a vector is a row on the left and a column on
        the right, and the axis of 1 is removed again. Four-dimensional operands are copied to logical order.

    Returns
    -------
    Tensor, (..., M, N)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If shapes do not match, or dtypes or devices differ.
    """
    if casting.on:
        a, b = casting.inputs("matmul", a, b)
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        (a, b), _ = constants("matmul", (a, b), {})
        for operand in (a, b):
            if not isinstance(operand, Tensor):
                raise ArgumentError(
                    f"{here('matmul')}: expected two Tensors; got a {type(operand).__name__}. Use * for a number."
                )
    device = same_device("matmul", a.device, b.device)
    inner = b.shape[-2:][0] if b.ndim else None
    if not a.ndim or not b.ndim or a.shape[-1] != inner or not _broadcasts(a.shape[:-2], b.shape[:-2]):
        raise ShapeError(f"{here('matmul')}: expected shapes (..., M, K) and (..., K, N); got {a.shape} and {b.shape}.")
    if a.dtype != b.dtype or a.dtype.kind not in FLOATING:
        raise DTypeError(f"{here('matmul')}: expected one floating dtype; got {a.dtype} and {b.dtype}.")
    if a.ndim == 1:
        y = matmul(a.reshape(1, -1) if a.numel() else a.reshape(1, 0), b)
        return y.reshape(*y.shape[:-1][:-1], *y.shape[-1:]) if b.ndim > 1 else y.reshape(())
    if b.ndim == 1:
        y = matmul(a, b.reshape(b.shape[0], 1))
        return y.reshape(y.shape[:-1])
    if b.ndim == 2:
        if a.ndim == 2:
            return _plain(device, a, b)
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return _plain(device, rows, b).reshape(*a.shape[:-1], b.shape[1])
    return _batched(device, a, b)


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def _plain(device: Device, a: Tensor, b: Tensor) -> Tensor:
    pa, pb = a._physical, b._physical

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        da = gemm(device, dy, pb, "nt") if needs[0] else None
        return da, gemm(device, pa, dy, "tn") if needs[1] else None

    return record("matmul", gemm(device, pa, pb, "nn"), device, (a, b), backward, saves=(a, b))


def _batched(device: Device, a: Tensor, b: Tensor) -> Tensor:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = _stacked(device, a, lead), _stacked(device, b, lead)
    shapes = a.shape, b.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        flat = (dy if rows else to_logical_order(device, dy)).reshape(folded)
        da = _unstacked(device, matmul_batched(device, flat, right, "nt"), lead, shapes[0]) if needs[0] else None
        return da, _unstacked(device, matmul_batched(device, left, flat, "tn"), lead, shapes[1]) if needs[1] else None

    c = matmul_batched(device, left, right, "nn")
    folded, shape = c.shape, (*lead, *c.shape[1:])
    rows = device.name == "cpu" and is_image(shape)
    y = c.reshape(1, *shape) if rows else to_physical_order(device, c.reshape(shape))
    return record("matmul", y, device, (a, b), backward, saves=(a, b), rows=rows)


def _stacked(device: Device, x: Tensor, lead: tuple[int, ...]) -> Any:
    """Matrices (B, rows, columns) in logical order: one, or as many as ``lead`` asks for."""
    own, matrix = x.shape[:-2], x.shape[-2:]
    in_rows = rows_of(x)
    array = to_logical_order(device, x._physical) if in_rows is None else in_rows[0]
    if math.prod(own) == 1 or own == lead:
        return array.reshape(-1 if array.size else math.prod(own), *matrix)
    return repeat_to(device, array, (*lead, *matrix)).reshape(math.prod(lead), *matrix)


def _unstacked(device: Device, dx: Any, lead: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """The gradient (B, rows, columns) of what was repeated to ``lead``, summed to ``shape``, physical."""
    summed = unbroadcast(device, dx.reshape(*lead, *dx.shape[1:]), (*(1,) * (len(lead) + 2 - len(shape)), *shape))
    if device.name == "cpu" and is_image(shape):
        return summed.reshape(1, *shape)  # in rows, as most operands are
    return to_physical_order(device, summed.reshape(shape))


def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices.

    Parameters
    ----------
    a : Tensor, (M, K)
    b : Tensor, (K, N)

    Raises
    ------
    ShapeError
        If they are not matrices of matching shapes.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ShapeError(f"{here('mm')}: expected two matrices; got {a.shape} and {b.shape}. matmul broadcasts.")
    return matmul(a, b)


def bmm(a: Tensor, b: Tensor) -> Tensor:
    """The products of two batches of matrices.

    Parameters
    ----------
    a : Tensor, (N, M, K)
    b : Tensor, (N, K, P)

    Raises
    ------
    ShapeError
        If they are not batches of one length and matching shapes.
    """
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0]:
        raise ShapeError(f"{here('bmm')}: expected (N, M, K) and (N, K, P); got {a.shape} and {b.shape}.")
    return matmul(a, b)
