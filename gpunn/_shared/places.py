"""Where windows that slide along an axis read: index tensors, kept on their devices."""

from __future__ import annotations

import functools

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._tensor import Tensor


# Kept on the device: a captured step may not copy from the host, and has been run before it is captured.
@functools.lru_cache(maxsize=256)
def window_places(device: Device, windows: int, size: int, stride: int, dilation: int = 1) -> Tensor:
    """One line of ``windows`` times ``size`` int64 numbers: element k of window w is at w stride + k dilation."""
    starts = np.arange(windows, dtype=np.int64)[:, None] * stride
    return tensor((starts + np.arange(size, dtype=np.int64) * dilation).reshape(-1), device=device)
