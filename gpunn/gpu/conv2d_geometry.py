"""What the kernels of convolutions share: their limits, the phases of a stride, steps through pixels."""

from __future__ import annotations

import functools
import math

import numpy as np

from gpunn._window import Window
from gpunn.errors import UsageError
from gpunn.gpu.launches import Struct

_MOST_ROWS = 2**31 - 1024  # a tile beyond the last row must not overflow
MOST_TAPS = 32  # of a filter, by tensor cores: a bit for each
_MOST_NUMBERS = 2**31 - 1  # of an array, by tensor cores, which count them in an int
_STEPS = np.dtype(
    [(name, np.int32) for name in ("w", "h", "offset", "w_last", "w_turn", "w_offset", "h_last", "h_turn", "h_offset")]
)


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


def counts_in_ints(n: int, c: int, k: int, window: Window, ahead: int) -> bool:
    """Whether all offsets that tensor cores' kernels come across fit an int, in windows beyond the border too.

    ahead: numbers of a step of the reduction.
    """
    w = window
    beyond = [w.padding[i] + w.dilation[i] * (w.R, w.S)[i] + w.stride[i] for i in (0, 1)]
    rows, columns = (ahead + 2) * beyond[0], (ahead + 2) * beyond[1]
    image = ((n + ahead) * w.H * w.W + rows * w.W + columns) * c
    output = ((n + 1) * w.P * w.Q + (w.H + rows) * w.Q + w.W + columns) * k
    return max(image, output, w.R * w.S * c * (k + ahead)) <= _MOST_NUMBERS


@functools.lru_cache(maxsize=1024)
def pixel_steps(c: int, window: Window, by: int) -> Struct:
    """``struct PixelSteps``: from an output pixel to the one ``by`` further on, where images have c channels."""
    w = window
    rows, right = divmod(by, w.Q)
    images, down = divmod(rows, w.P)
    step_w, step_h = right * w.stride[1], down * w.stride[0]
    w_turn, h_turn = w.Q * w.stride[1], w.P * w.stride[0]
    fields = (
        *(step_w, step_h, ((images * w.H + step_h) * w.W + step_w) * c),
        *(w_turn - w.stride[1] - w.padding[1], w_turn, (w.stride[0] * w.W - w_turn) * c),
        *(h_turn - w.stride[0] - w.padding[0], h_turn, (w.H - h_turn) * w.W * c),
    )
    # Parts of an offset may be beyond an int where all of it is not: kernels add them up modulo 2^32.
    return Struct(np.array([tuple((field + 2**31) % 2**32 - 2**31 for field in fields)], _STEPS))
