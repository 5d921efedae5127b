"""Before which element of sorted rows a number belongs (``kernels/searchsorted.cu``). No gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device, same_device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.gpu.broadcast import NUMBERS, as_numbers, c_number
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.ops.gather import gather
from gpunn.primitive import primitive

SOURCE = KernelSource("searchsorted.cu", REAL=NUMBERS)
_BLOCK = 256


@primitive(returns=("found",))
def places_among(xp: Any, rows: Any, values: Any, right: bool) -> Any:
    """found (R, M), int64: how many elements of the sorted row r (R, N) are less than a value (R, M), or equal to it.

    ``right`` counts equal ones. NaN is behind all numbers.
    """
    found = xp.empty(values.shape, np.int64)
    for row, value, place in zip(rows, values, found, strict=True):
        place[...] = xp.searchsorted(row, value, "right" if right else "left")
    return found


@places_among.kernel
def _(device: Device, rows: Any, values: Any, right: bool) -> Any:
    found, real = device.empty(values.shape, np.int64), c_number("searchsorted", rows.dtype)
    if values.size:
        args = (found, as_numbers(rows), as_numbers(values), rows.shape[1], values.shape[1], int(right), values.size)
        SOURCE.launch(device, "searchsorted", (ceil_div(values.size, _BLOCK), 1, 1), _BLOCK, args, REAL=real)
    return found


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Before which element of each sorted row a number belongs.

    Parameters
    ----------
    sorted_sequence : Tensor, (N,) or (..., N)
        In order along the last axis.
    input : number, or Tensor, any shape or (..., M)
        With the same first axes, unless the sequence is one row.
    out_int32 : bool
        int32 instead of int64.
    right : bool
        Whether a number belongs behind elements that equal it.
    side : str, optional
        ``"left"`` or ``"right"``: the same as a word.
    sorter : Tensor, optional
        The order of a sequence that is not sorted, as of ``argsort``.

    Returns
    -------
    Tensor
        Of the shape of ``input``.

    Raises
    ------
    ShapeError
        If the first axes differ.
    UsageError
        If ``side`` is something else, or the opposite of ``right``.
    """
    op = "searchsorted"
    if side not in (None, "left", "right") or (right and side == "left"):
        raise UsageError(f"{here(op)}: side: expected 'left' or 'right' as right={right} says; got {side!r}.")
    return _searched(op, sorted_sequence, input, right or side == "right", out_int32, sorter)


def bucketize(x: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """In which interval between boundaries each number lies.

    Parameters
    ----------
    x : number or Tensor
    boundaries : Tensor, (N,)
        In order.
    out_int32 : bool
        int32 instead of int64.
    right : bool
        Whether a boundary belongs to the interval before it.

    Returns
    -------
    Tensor
        Of x's shape: how many boundaries are below.

    Raises
    ------
    ShapeError
        If the boundaries are no vector.
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"{here('bucketize')}: boundaries: expected (N,); got shape {boundaries.shape}.")
    return _searched("bucketize", boundaries, x, right, out_int32, None)


def _searched(op: str, sequence: Tensor, given: Any, right: Any, narrow: Any, sorter: Tensor | None) -> Tensor:
    if isinstance(given, Tensor):
        values = given.detach()
    else:
        values = tensor(real_number(op, "values", given, finite=False), dtype=np.float64, device=sequence.device)
    device, rows = same_device(op, sequence.device, values.device), sequence.detach()
    if sorter is not None:
        if sorter.shape != rows.shape:
            raise ShapeError(f"{here(op)}: sorter: expected the sequence's shape, {rows.shape}; got {sorter.shape}.")
        rows = gather(rows, -1, sorter)
    if not rows.ndim:
        raise ShapeError(f"{here(op)}: expected a sequence of at least one axis; got a number.")
    if rows.ndim != 1 and (values.ndim != rows.ndim or values.shape[:-1] != rows.shape[:-1]):
        raise ShapeError(
            f"{here(op)}: expected values with the first axes of the sequence, {rows.shape[:-1]}; got shape "
            f"{values.shape}."
        )
    dtype, shape = np.result_type(rows.dtype, values.dtype), values.shape
    if dtype.kind == "i" and dtype.itemsize < 4:
        dtype = np.dtype(np.int64)  # kernels know no shorter ones
    count, each = (1, values.numel()) if rows.ndim == 1 else (math.prod(shape[:-1]), shape[-1])
    rows, values = rows.to(dtype).reshape(count, rows.shape[-1]), values.to(dtype).reshape(count, each)
    found = Tensor._of_physical(places_among(device, rows.array, values.array, bool(right)), device).reshape(shape)
    return found.int() if narrow else found
