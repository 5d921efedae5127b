"""What the pooling ops share: checks of arguments, which inputs a window's taps are, blocks of images.

Sequences (N, C, L) are pooled as images of L rows, one column and one channel: the same bytes, so
every body and kernel for images serves them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn import threads
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, where
from gpunn.launcher import ceil_div
from gpunn.ops.geometry import Pair, Window, pair, single

Taps = tuple[tuple[slice, slice], ...]  # (outputs, the inputs they read), one for each element of the window
OutputSize = int | None | Sequence[int | None]
Segments = tuple[tuple[int, int], ...]  # (start, stop) of each output's inputs along an axis


# -- checks ---------------------------------------------------------------------------------------


def check_images(op: str, x: Tensor, ndim: int = 4) -> None:
    """Raise unless x is a floating batch of images (``ndim`` 4) or sequences (3)."""
    expected = "(N, C, H, W)" if ndim == 4 else "(N, C, L)"
    if x.ndim != ndim:
        raise ShapeError(f"{where(op)}: expected x of shape {expected}; got {x.shape}.")
    if 0 in x.shape[1:]:
        raise ShapeError(f"{where(op)}: expected x of shape {expected} with no axis of 0 but N; got {x.shape}.")
    if x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


def image_window(
    op: str,
    size: Sequence[int],
    kernel: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    strict: bool,
    names: tuple[str, str] = ("height", "width"),
) -> Window:
    """How the window slides over an image of ``size`` (H, W), whose axes have these ``names``, all checked."""
    window = pair(kernel, op, "kernel_size", 1)
    steps = window if stride is None else pair(stride, op, "stride", 1)
    pads, spread = pair(padding, op, "padding", 0), pair(dilation, op, "dilation", 1)
    if any(2 * p > k for p, k in zip(pads, window, strict=True)):
        raise UsageError(f"{where(op)}: padding {pads} is more than half the kernel {window}: windows would be empty.")
    made = Window(size[0], size[1], *window, steps, pads, spread, ceil_mode)
    made.check(op, names)
    if strict:
        made.refuse_unused(op)
    return made


def sequence_window(
    op: str,
    length: int,
    kernel: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
    strict: bool,
) -> Window:
    """The same for a sequence, as an image of ``length`` rows and one column."""
    size = single(kernel, op, "kernel_size", 1)
    step = size if stride is None else single(stride, op, "stride", 1)
    pads, spread = (single(padding, op, "padding", 0), 0), (single(dilation, op, "dilation", 1), 1)
    names = "length", "width"
    return image_window(op, (length, 1), (size, 1), (step, 1), pads, spread, ceil_mode, strict, names)


def output_sizes(op: str, output_size: OutputSize, size: Sequence[int]) -> tuple[int, ...]:
    """An adaptive pooling's output lengths, one for each of ``size``; None keeps the input's."""
    axes = len(size)
    given: tuple[Any, ...] = (output_size,) * axes
    if isinstance(output_size, Sequence):
        given = tuple(output_size)
    if len(given) != axes or any(n is not None and (not isinstance(n, int) or n < 1) for n in given):
        many = "a positive integer or None" + (", or two of them" if axes == 2 else "")
        raise UsageError(f"{where(op)}: output_size: expected {many}; got {output_size!r}.")
    return tuple(old if new is None else new for new, old in zip(given, size, strict=True))


def rows_of(x: Tensor) -> Any:
    """Sequences (N, C, L) as physical images (N C, L, 1, 1), the same memory."""
    n, c, length = x.shape
    return x._physical.reshape(n * c, length, 1, 1)


# -- taps -----------------------------------------------------------------------------------------


def taps(window: Window, axis: int) -> Taps:
    """For each element of the window along an axis (0: rows), the outputs it lies in the image for, and where."""
    if axis == 0:
        n, outputs, k = window.H, window.P, window.R
    else:
        n, outputs, k = window.W, window.Q, window.S
    return _axis_taps(n, outputs, k, window.stride[axis], window.padding[axis], window.dilation[axis])


@functools.lru_cache(maxsize=1024)
def _axis_taps(n: int, outputs: int, k: int, stride: int, pad: int, dilation: int) -> Taps:
    made = []
    for number in range(k):
        shift = number * dilation - pad  # output p reads input p * stride + shift
        first = max(0, ceil_div(-shift, stride))
        last = min(outputs - 1, (n - 1 - shift) // stride)
        if last < first:
            made.append((slice(0, 0), slice(0, 0)))
        else:
            made.append(
                (slice(first, last + 1), slice(first * stride + shift, last * stride + shift + 1, stride)),
            )
    return tuple(made)


@functools.lru_cache(maxsize=1024)
def segments(n: int, outputs: int) -> Segments:
    """Which inputs of n each output of an adaptive pooling sees: floor(p n / outputs) to ceil((p + 1) n / outputs)."""
    return tuple((p * n // outputs, ceil_div((p + 1) * n, outputs)) for p in range(outputs))


def image_blocks(x: np.ndarray) -> list[slice]:
    """Runs of images of about 256 KB, so that the taps of a window find them in cache."""
    return threads.spans(len(x), max(1, x.nbytes >> 18))
