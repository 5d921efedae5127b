"""What the kernels of convolutions share: their limits, and the phases of a stride."""

from __future__ import annotations

import math

from gpunn._window import Window
from gpunn.errors import UsageError

_MOST_ROWS = 2**31 - 1024  # a tile beyond the last row must not overflow


def refuse_too_many(n: int, c: int, k: int, window: Window) -> None:
    """Raise if a batch is too large for the kernels, which count pixels as ints, and for their Divisor."""
    w = window
    if max(n * w.P * w.Q, n * w.H * w.W, w.R * w.S * max(c, k)) > _MOST_ROWS:
        raise UsageError(f"conv2d: a batch of {n} images of {w.H} x {w.W} has more than 2^31 pixels: split the batch.")


def phases(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    """Per axis (step, reach): pixels of one phase are read by every step-th filter element, ``reach`` outputs apart."""
    step, reach = [], []
    for stride, dilation in zip(window.stride, window.dilation, strict=True):
        shared = math.gcd(stride, dilation)
        step.append(stride // shared)
        reach.append(dilation // shared)
    return (step[0], step[1]), (reach[0], reach[1])
