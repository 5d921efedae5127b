"""Triangles of matrices: tril and triu (``kernels/tril.cu``)."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._layout import address_of, logical, physical
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.gpu.launcher import KernelSource, ceil_div, divisor_struct
from gpunn.gpu.strided_copy import BLOCK, memory, wide
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("tril.cu", BYTES=(1, 2, 4, 8, 16))


@primitive(returns=("y",), moves=True)
def triangle(xp: Any, x: Any, diagonal: int, upper: bool) -> Any:
    """x within a triangle of its last two axes, 0 outside; logical in, physical out."""
    offset = xp.arange(x.shape[-1]) - xp.arange(x.shape[-2])[:, None] - diagonal
    return physical(xp.where(offset >= 0 if upper else offset <= 0, x, x.dtype.type(0)))


@triangle.kernel
def _(device: Device, x: Any, diagonal: int, upper: bool) -> Any:
    x = physical(x)
    y = device.empty(x.shape, x.dtype)
    if y.size:
        rows, columns, inner = x.shape[1:] if x.ndim == 4 else (*x.shape[-2:], 1)
        item = y.dtype.itemsize
        width = wide(item, inner * item, address_of(x), address_of(y))
        inner, threads = inner * item // width, y.size * item // width
        sizes = (divisor_struct(n) for n in (inner, columns, rows))
        limit = max(-rows, min(columns, diagonal))  # beyond these, everything is kept or nothing
        args = (memory(y), memory(x), *sizes, limit, int(upper), threads)
        SOURCE.launch(device, "triangle", (ceil_div(threads, BLOCK), 1, 1), BLOCK, args, BYTES=width)
    return y


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of each matrix, 0 above it.

    Parameters
    ----------
    x : Tensor, (..., rows, columns)
    diagonal : int
        The last diagonal kept: 0 is the main one, 1 the next above.

    Raises
    ------
    ShapeError
        If x has fewer than two axes.

    Examples
    --------
    >>> import gpunn
    >>> tril(gpunn.ones(2, 2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return _triangle("tril", x, diagonal, upper=False)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of each matrix, 0 below it.

    Parameters
    ----------
    x : Tensor, (..., rows, columns)
    diagonal : int
        The first diagonal kept: 0 is the main one, 1 the next above.

    Raises
    ------
    ShapeError
        If x has fewer than two axes.
    """
    return _triangle("triu", x, diagonal, upper=True)


def _triangle(op: str, x: Tensor, diagonal: int, *, upper: bool) -> Tensor:
    if x.ndim < 2:
        raise ShapeError(f"{here(op)}: expected matrices, (..., rows, columns); got shape {x.shape}.")
    diagonal = whole_number(op, "diagonal", diagonal)
    device = x.device
    y = triangle(device, x.array, diagonal, upper)
    return record(op, y, device, (x,), lambda dy, needs: (triangle(device, logical(dy), diagonal, upper),))
