"""Moving between devices and converting dtypes, on the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn import _capture
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.primitive import primitive
from gpunn.tape import record


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"x": rng.standard_normal((3, 4)).astype(np.float32), "dtype": np.float64},
        {"x": np.arange(5), "dtype": np.float32},
    ]


@primitive(examples=_examples, returns=("y",))
def cast(xp: Any, x: Any, dtype: Any) -> Any:
    """x converted to ``dtype``."""
    return x.astype(dtype)


def to_dtype(x: Tensor, dtype: np.dtype) -> Tensor:
    """x converted to ``dtype``; x itself if it has it. The gradient is converted back."""
    if x.dtype == dtype:
        return x
    device, old = x.device, x.dtype
    y = cast(device, x._physical, dtype)
    if dtype.kind != "f":
        return Tensor._of_physical(y, device)  # integers carry no gradient
    return record("to", y, device, (x,), lambda dy, needs: (cast(device, dy, old),))


def to_device(x: Tensor, target: Device) -> Tensor:
    """x on ``target``; x itself if it is there. A copy in memory order; the gradient moves back."""
    source = x.device
    if source is target:
        return x
    _capture.refuse_while_recording(f"moving a tensor to '{target}'")

    def moved(array: Any, origin: Device, goal: Device) -> Any:
        host = origin.to_host(array)
        # Both may be NumPy devices: a move is a copy there too, as it is to a GPU.
        return goal.array(host.copy() if goal.xp is np and host is array else host)

    return record(
        "to", moved(x._physical, source, target), target, (x,), lambda dy, needs: (moved(dy, target, source),)
    )
