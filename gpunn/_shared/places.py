"""Windows that slide along an axis: what they read, side by side, and the transpose of that."""

from __future__ import annotations

import functools

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.ops.getitem import index_select, narrow, summed_at
from gpunn.ops.pad import pad


def windows_along(x: Tensor, axis: int, windows: int, size: int, stride: int, dilation: int = 1) -> Tensor:
    """x with ``windows`` times ``size`` slices along an axis: slice w size + k is x's at w stride + k dilation."""
    if _side_by_side(size, stride, dilation):
        return x if x.shape[axis] == windows * size else narrow(x, axis, 0, windows * size)
    return index_select(x, axis, _places(x.device, windows, size, stride, dilation))


def summed_windows(
    op: str, x: Tensor, axis: int, windows: int, size: int, stride: int, dilation: int, length: int
) -> Tensor:
    """The transpose of :func:`windows_along`: ``length`` slices, each the sum of those of x that are read from it.

    ``op`` is its name on the tape; x is floating.
    """
    if _side_by_side(size, stride, dilation):
        behind = length - windows * size
        return pad(x, ((0, 0) * (x.ndim - axis - 1)) + (0, behind)) if behind else x
    return summed_at(op, x, axis, _places(x.device, windows, size, stride, dilation), length)


def _side_by_side(size: int, stride: int, dilation: int) -> bool:
    """Whether windows follow one another without gaps or overlaps."""
    return size == stride and (dilation == 1 or size == 1)


# Kept on the device: a captured step may not copy from the host, and has been run before it is captured.
@functools.lru_cache(maxsize=256)
def _places(device: Device, windows: int, size: int, stride: int, dilation: int) -> Tensor:
    """One line of ``windows`` times ``size`` int64 numbers: element k of window w is at w stride + k dilation."""
    starts = np.arange(windows, dtype=np.int64)[:, None] * stride
    return tensor((starts + np.arange(size, dtype=np.int64) * dilation).reshape(-1), device=device)
