"""Views and reorderings: reshape, flatten, transpose (``kernels/transpose.cu``).

A reshape works on elements in logical order, so that weights agree with PyTorch's; for an image
stored channels last that is a copy, and its gradient is copied back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, where
from gpunn.launcher import KernelSource, c_type, ceil_div
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("transpose.cu", REAL=("float", "double"))


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes = ((1, 3, 5), (2, 33, 31), (3, 64, 32), (2, 1, 40), (1, 70, 1), (0, 3, 2), (2, 0, 4))
    made = [{"x": rng.standard_normal(s).astype(np.float32)} for s in shapes]
    return [*made, {"x": rng.standard_normal((2, 5, 40))}]


@primitive(examples=_examples, returns=("y",))
def batched_transpose(xp: Any, x: Any) -> Any:
    """y[n, c, r] = x[n, r, c], contiguous."""
    return xp.ascontiguousarray(x.transpose(0, 2, 1))


@batched_transpose.kernel
def _(device: Device, x: Any) -> Any:
    n, rows, cols = x.shape
    y = device.empty((n, cols, rows), x.dtype)
    tiles = (ceil_div(cols, 32), ceil_div(rows, 32))
    for start in range(0, n, 65535):  # CUDA's limit on grid.z
        part = slice(start, min(n, start + 65535))
        grid = (*tiles, part.stop - part.start)
        SOURCE.launch(
            device, "transpose", grid, (32, 8, 1), (y[part], x[part], rows, cols), REAL=c_type(x.dtype, "transpose")
        )
    return y


def to_logical_order(device: Device, x: Any) -> Any:
    """A contiguous array in logical order, (N, C, H, W), from a physical 4-d one; else as it is."""
    if x.ndim != 4:
        return x
    n, h, w, c = x.shape
    if c == 1 or h * w == 1:
        return x.reshape(n, c, h, w)  # the same bytes in both orders
    return batched_transpose(device, x.reshape(n, h * w, c)).reshape(n, c, h, w)


def to_physical_order(device: Device, x: Any) -> Any:
    """The inverse of :func:`to_logical_order`: from contiguous (N, C, H, W) to (N, H, W, C)."""
    if x.ndim != 4:
        return x
    n, c, h, w = x.shape
    if c == 1 or h * w == 1:
        return x.reshape(n, h, w, c)
    return batched_transpose(device, x.reshape(n, c, h * w)).reshape(n, h, w, c)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The elements of x in logical order in another shape.

    Parameters
    ----------
    x : Tensor
    shape : sequence of int
        With x's number of elements; one length may be -1.

    Raises
    ------
    ShapeError
        If the sizes do not agree.
    """
    new = _resolve(x, tuple(int(n) for n in shape))
    device, old = x.device, x.shape
    y = to_physical_order(device, to_logical_order(device, x._physical).reshape(new))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (to_physical_order(device, to_logical_order(device, dy).reshape(old)),)

    return record("reshape", y, device, (x,), backward, passes_on=True)


def _resolve(x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known and x.numel() % known == 0:
        shape = tuple(x.numel() // known if n == -1 else n for n in shape)
    if -1 in shape or math.prod(shape) != x.numel():
        raise ShapeError(f"{where('reshape')}: cannot make shape {shape} of {x.shape} with {x.numel()} elements.")
    return shape


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge axes ``start_dim`` to ``end_dim`` into one, in logical order; PyTorch's ``flatten``."""
    first, last = start_dim % max(x.ndim, 1), end_dim % max(x.ndim, 1)
    if first > last or not -max(x.ndim, 1) <= start_dim < max(x.ndim, 1):
        raise UsageError(f"{where('flatten')}: axes {start_dim} to {end_dim} do not exist in shape {x.shape}.")
    return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def transpose(x: Tensor) -> Tensor:
    """The transpose of a matrix, contiguous."""
    if x.ndim != 2:
        raise ShapeError(f"{where('T')}: expected a matrix; got shape {x.shape}.")
    device = x.device

    def turned(a: Any) -> Any:
        return batched_transpose(device, a.reshape(1, *a.shape)).reshape(a.shape[::-1])

    return record("transpose", turned(x._physical), device, (x,), lambda dy, needs: (turned(dy),))
