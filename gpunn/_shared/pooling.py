"""Argument checks that the pooling ops share.

Sequences (N, C, L) are pooled as images of L rows, one column and one channel: the same bytes, so
every body and kernel for images serves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._half import FLOATING
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn._window import Pair, Window, pair, remembered, single
from gpunn.errors import DTypeError, ShapeError, UsageError, here

OutputSize = int | None | Sequence[int | None]

# -- checks ---------------------------------------------------------------------------------------


def check_images(op: str, x: Tensor, ndim: int = 4, one: bool = True) -> None:
    """Raise unless x is a floating batch of images (``ndim`` 4) or sequences (3); ``one``: the op takes one, too."""
    expected = "(N, C, H, W)" if ndim == 4 else "(N, C, L)"
    if x.ndim != ndim:
        alone = f" or {expected.replace('N, ', '')}" if one else ""
        raise ShapeError(f"{here(op)}: expected x of shape {expected}{alone}; got {x.shape}.")
    if 0 in x.shape[1:]:
        raise ShapeError(f"{here(op)}: expected x of shape {expected} with no axis of 0 but N; got {x.shape}.")
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


@remembered
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
    """The checked window over an image of ``size`` (H, W); errors call the image's axes by these ``names``."""
    window = pair(kernel, op, "kernel_size", 1)
    steps = window if stride is None else pair(stride, op, "stride", 1)
    pads, spread = pair(padding, op, "padding", 0), pair(dilation, op, "dilation", 1)
    if any(2 * p > k for p, k in zip(pads, window, strict=True)):
        raise UsageError(f"{here(op)}: padding {pads} is more than half the kernel {window}: windows would be empty.")
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
    given = tuple(as_int(n, n) for n in given)
    if len(given) != axes or any(n is not None and (type(n) is not int or n < 1) for n in given):
        many = "a positive integer or None" + ("", ", or two of them", ", or three of them")[axes - 1]
        raise UsageError(f"{here(op)}: output_size: expected {many}; got {output_size!r}.")
    return tuple(old if new is None else new for new, old in zip(given, size, strict=True))


def rows_of(x: Tensor) -> Any:
    """Sequences (N, C, L) as physical images (N C, L, 1, 1), in the same memory."""
    n, c, length = x.shape
    return x._physical.reshape(n * c, length, 1, 1)
