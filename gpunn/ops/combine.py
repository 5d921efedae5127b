"""The second half of split reductions: partial results added in a fixed order (``kernels/combine.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.primitive import primitive

SOURCE = KernelSource("combine.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(slices: int, shape: tuple[int, ...], dtype: Any, bias: bool, relu: bool) -> dict[str, Any]:
        return {
            "partial": rng.standard_normal((slices, *shape)).astype(dtype),
            "bias": rng.standard_normal(shape[-1]).astype(dtype) if bias else None,
            "relu": relu,
        }

    return [
        case(1, (5,), np.float32, False, False),
        case(7, (33, 20), np.float32, True, True),
        case(3, (6, 7), np.float32, True, False),
        case(4, (0, 3), np.float32, False, True),
        case(5, (9, 4), np.float64, True, True),
    ]


@primitive(examples=_examples, returns=("out",))
def combine(xp: Any, partial: Any, bias: Any, relu: bool) -> Any:
    """out = act(partial[0] + partial[1] + ... + bias); bias runs along the last axis."""
    out = partial[0].copy()
    for extra in partial[1:]:
        out += extra
    if bias is not None:
        out += bias
    return xp.maximum(out, out.dtype.type(0)) if relu else out


@combine.kernel
def _(device: Device, partial: Any, bias: Any, relu: bool) -> Any:
    out = device.empty(partial.shape[1:], partial.dtype)
    vec = vector_width(out.size, out, partial)
    grid = (ceil_div(out.size, vec * _BLOCK), 1, 1)
    columns = max(1, out.shape[-1])
    args = (out, partial, bias, partial.shape[0], out.size, columns, int(relu))
    SOURCE.launch(device, "combine", grid, _BLOCK, args, REAL=c_type(out.dtype, "combine"), VEC=vec)
    return out
