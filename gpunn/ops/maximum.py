"""The larger or smaller of two tensors, element by element (``kernels/pair_backward.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.gpu.broadcast import launch_pair_backward
from gpunn.ops.binary import binary
from gpunn.primitive import primitive

# -- two tensors ----------------------------------------------------------------------------------


def _pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    a, b = (rng.integers(0, 3, (4, 5)).astype(np.float32) for _ in range(2))
    b[0, 0] = np.nan
    dy = rng.standard_normal((4, 5)).astype(np.float32)
    pairs = ((a, b), (a, b[0].copy()), (a, np.float32(1)), (a[:, :1].copy(), b))
    made = [{"dy": dy, "a": p, "b": q, "largest": big} for p, q in pairs for big in (True, False)]
    wide = rng.integers(0, 3, (3, 8)).astype(np.float64)
    return [*made, {"dy": np.ones((3, 8)), "a": wide, "b": wide[0].copy(), "largest": True}]


@primitive(examples=_pair_examples, returns=("da", "db"))
def pair_backward(xp: Any, dy: Any, a: Any, b: Any, largest: bool) -> tuple[Any, Any]:
    """dy to the one that won, half to each where they are equal, to both where one is NaN."""
    number = dy.dtype.type
    half = xp.where(a == b, dy * number(0.5), dy)
    lost = (a < b, b < a) if largest else (b < a, a < b)
    return xp.where(lost[0], number(0), half), xp.where(lost[1], number(0), half)


@pair_backward.kernel
def _(device: Device, dy: Any, a: Any, b: Any, largest: bool) -> tuple[Any, Any]:
    return launch_pair_backward(device, dy, a, b, largest)


def _of_two(op: str, a: Any, b: Any) -> Tensor:
    def gradients(device: Device, dy: Any, pa: Any, pb: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        found: tuple[Any, Any] = pair_backward(device, dy, pa, pb, op == "maximum")
        return found

    return binary(op, a, b, gradients)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element; NaN if one is. Equal elements share the gradient.

    Parameters
    ----------
    a, b : Tensor or number
        One device and dtype, shapes that broadcast.
    """
    return _of_two("maximum", a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; NaN if one is. Equal elements share the gradient.

    Parameters
    ----------
    a, b : Tensor or number
        One device and dtype, shapes that broadcast.
    """
    return _of_two("minimum", a, b)
