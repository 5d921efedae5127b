"""Moving between devices and converting dtypes, on the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device
from gpunn._half import FLOAT32, FLOATING, is_bfloat16, is_half
from gpunn._tensor import Tensor
from gpunn.cpu import memory
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("cast.cu")
_BLOCK, _EACH = 256, 4
# In the order of cast.cu; bfloat16, which follows, is not there before somebody asks for it.
_CODES = {np.dtype(name): code for code, name in enumerate(("?", "u1", "i1", "i2", "i4", "i8", "f4", "f8", "f2"))}
_BFLOAT16 = len(_CODES)


@primitive(returns=("y",), halves=True)
def cast(xp: Any, x: Any, dtype: Any) -> Any:
    """x converted to ``dtype``.

    To 16 bits whole numbers go by way of float32, as in PyTorch. Floating ones are rounded once.
    """
    dtype = np.dtype(dtype)
    with quiet():
        return (x.astype(FLOAT32) if is_half(dtype) and x.dtype.kind in "iu" else x).astype(dtype)


@cast.numpy
def _(x: np.ndarray, dtype: Any) -> np.ndarray:
    dtype = np.dtype(dtype)
    y = memory.empty(x.shape, dtype)
    with quiet():
        np.copyto(y, x.astype(FLOAT32) if is_half(dtype) and x.dtype.kind in "iu" else x, casting="unsafe")
    return y


@cast.kernel
def _(device: Device, x: Any, dtype: Any) -> Any:
    y = device.empty(x.shape, dtype)
    _launch(device, y, x)
    return y


@primitive(returns=(), mutates=("target",), halves=True)
def cast_into(xp: Any, target: Any, x: Any) -> None:
    """target = x, converted to its dtype, in place; both floating and of one shape."""
    with quiet():
        target[...] = x.astype(target.dtype)


@cast_into.kernel
def _(device: Device, target: Any, x: Any) -> None:
    _launch(device, target, x)


def _launch(device: Device, y: Any, x: Any) -> None:
    codes = [_code(array.dtype) for array in (y, x)]
    flat = [array.reshape(-1).view(np.uint8) for array in (y, x)]
    grid = (ceil_div(y.size, _BLOCK * _EACH), 1, 1)
    SOURCE.launch(device, "cast", grid, _BLOCK, (*flat, *codes, y.size))


def _code(dtype: np.dtype) -> int:
    code = _BFLOAT16 if is_bfloat16(dtype) else _CODES.get(dtype)
    if code is None:
        raise DTypeError(f"to: kernels know {', '.join(map(str, _CODES))} and bfloat16; got {dtype}.")
    return code


def in_dtype(device: Device, array: Any, dtype: np.dtype) -> Any:
    """A gradient, or None, in its tensor's dtype: of a 16-bit input's float32 parameter, for example."""
    return array if array is None or array.dtype == dtype else cast(device, array, dtype)


def to_dtype(x: Tensor, dtype: np.dtype) -> Tensor:
    """x converted to ``dtype``; x itself if it already has it. The gradient is converted back."""
    if x.dtype == dtype:
        return x
    device, old = x.device, x.dtype
    y = cast(device, x._physical, dtype)
    if dtype.kind not in FLOATING:
        return Tensor._of_physical(y, device)  # integers carry no gradient
    return record("to", y, device, (x,), lambda dy, needs: (cast(device, dy, old),))


def to_device(x: Tensor, target: Device) -> Tensor:
    """x on ``target``; x itself if it is already there. A copy in memory order; the gradient moves back."""
    source = x.device
    if source is target:
        return x
    refuse_in_capture(f"moving a tensor to '{target}'")

    def moved(array: Any, origin: Device, goal: Device) -> Any:
        host = origin.to_host(array)
        # Both may be NumPy devices: a move is a copy there too, as it is to a GPU.
        return goal.array(host.copy() if goal.xp is np and host is array else host)

    return record(
        "to", moved(x._physical, source, target), target, (x,), lambda dy, needs: (moved(dy, target, source),)
    )
