"""Moving between devices and converting dtypes, on the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("cast.cu")
_BLOCK, _EACH = 256, 4
# In the order of cast.cu.
_CODES = {np.dtype(name): code for code, name in enumerate(("?", "u1", "i1", "i2", "i4", "i8", "f4", "f8"))}


@primitive(returns=("y",))
def cast(xp: Any, x: Any, dtype: Any) -> Any:
    """x converted to ``dtype``."""
    return x.astype(dtype)


@cast.kernel
def _(device: Device, x: Any, dtype: Any) -> Any:
    y = device.empty(x.shape, dtype)
    for d in (x.dtype, y.dtype):
        if d not in _CODES:
            raise DTypeError(f"to: kernels know {', '.join(map(str, _CODES))}; got {d}.")
    flat = [array.reshape(-1).view(np.uint8) for array in (y, x)]
    grid = (ceil_div(y.size, _BLOCK * _EACH), 1, 1)
    SOURCE.launch(device, "cast", grid, _BLOCK, (*flat, _CODES[y.dtype], _CODES[x.dtype], y.size))
    return y


def to_dtype(x: Tensor, dtype: np.dtype) -> Tensor:
    """x converted to ``dtype``; x itself if it already has it. The gradient is converted back."""
    if x.dtype == dtype:
        return x
    device, old = x.device, x.dtype
    y = cast(device, x._physical, dtype)
    if dtype.kind != "f":
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
