"""Sums of all elements so far along an axis (``kernels/cumsum.cu``)."""

from __future__ import annotations

from typing import Any

from gpunn._autocast import casting
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import logical, physical
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.along_axis import by_rows
from gpunn.gpu.broadcast import NUMBERS, as_numbers, c_number
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("cumsum.cu", REAL=NUMBERS)
_THREADS, _CHUNK = 256, 1024  # as in cumsum.cu


@primitive(returns=("y",))
def running_sum(xp: Any, x: Any, axis: int, backwards: bool) -> Any:
    """y[i] = x[0] + ... + x[i] along ``axis`` of a logical array, or x[i] + ... to the end if ``backwards``."""
    with quiet():  # an infinity and its opposite
        if not backwards:
            return physical(xp.cumsum(x, axis=axis, dtype=x.dtype))
        return physical(xp.flip(xp.cumsum(xp.flip(x, axis), axis=axis, dtype=x.dtype), axis))


@running_sum.kernel
def _(device: Device, x: Any, axis: int, backwards: bool) -> Any:
    return by_rows(device, x, axis, lambda rows: _running_sum(device, rows, backwards))


def _running_sum(device: Device, x: Any, backwards: bool) -> Any:
    """Along the last axis of a contiguous array."""
    y, length = device.empty(x.shape, x.dtype), x.shape[-1]
    if x.size == 0:
        return y
    chunks, real, sums = ceil_div(length, _CHUNK), c_number("cumsum", x.dtype), None
    blocks = (x.size // length * chunks, 1, 1)
    x, out = as_numbers(x), as_numbers(y)
    if chunks > 1:
        sums = device.empty((x.size // length, chunks), x.dtype)
        SOURCE.launch(device, "chunk_sums", blocks, _THREADS, (sums, x, length, chunks, int(backwards)), REAL=real)
    args = (out, x, sums, length, chunks, int(backwards))
    SOURCE.launch(device, "running_sum", blocks, _THREADS, args, REAL=real)
    return y


def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """y[i] = x[0] + x[1] + ... + x[i] along an axis.

    Parameters
    ----------
    x : Tensor
        Integers and bools give int64.
    dim : int
        The axis.
    dtype : dtype, optional
        Convert to it first.

    Examples
    --------
    >>> import gpunn
    >>> cumsum(gpunn.tensor([1, 2, 3]), 0).tolist()
    [1, 3, 6]
    """
    if casting.on and dtype is None:
        (x,) = casting.inputs("cumsum", x)
    axis = axis_of("cumsum", x, dim)
    if dtype is not None:
        x = x.to(dtype=dtype)
    elif x.dtype.kind not in FLOATING:
        x = x.long()
    if not x.ndim:
        return x.clone()
    device = x.device
    y = running_sum(device, x.array, axis, False)
    if x.dtype.kind not in FLOATING:
        return Tensor._of_physical(y, device)
    return record("cumsum", y, device, (x,), lambda dy, needs: (running_sum(device, logical(dy), axis, True),))
