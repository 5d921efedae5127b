"""Windows sliding over an image: the arithmetic that convolution and pooling share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._shared.numbers import as_int
from gpunn.errors import ShapeError, UsageError, here
from gpunn.gpu.launcher import ceil_div


def is_plain_product(window: Window, groups: int) -> bool:
    """Whether the pixels as stored are the windows: 1 x 1, stride 1, no padding, one group."""
    return groups == window.R == window.S == 1 and window.stride == (1, 1) and not any((*window.padding, *window.after))


Taps = tuple[tuple[slice, slice], ...]  # (outputs, the inputs they read), one for each element of the window

Segments = tuple[tuple[int, int], ...]  # (start, stop) of each output's inputs along an axis

# -- taps -----------------------------------------------------------------------------------------


def taps(window: Window, axis: int) -> Taps:
    """For each window element along an axis (0: rows), the outputs for which it is inside the image, and its inputs."""
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


# -- offsets --------------------------------------------------------------------------------------

_CODES: tuple[Any, ...] = (np.uint8, np.uint16, np.uint32)


def code_type(window: Window, relu: bool) -> Any:
    """The type of a max pooling's offsets: one byte where that names all elements of a window, else two or four.

    With a ReLU it names one thing more, see :func:`closed`.
    """
    named = window.R * window.S + relu
    return _CODES[(named > 1 << 8) + (named > 1 << 16)]


def closed(code: Any) -> int:
    """In a max pooling with a ReLU, the offset that stands for no element: no gradient flows back.

    It is the largest number of the offsets' type ``code``.
    """
    return int(np.iinfo(code).max)


@functools.lru_cache(maxsize=1024)
def segments(n: int, outputs: int) -> Segments:
    """Which inputs of n each output of an adaptive pooling reads: floor(p n / outputs) to ceil((p + 1) n / outputs)."""
    return tuple((p * n // outputs, ceil_div((p + 1) * n, outputs)) for p in range(outputs))


Pair = int | Sequence[int]

# Per axis one number for both sides, or (before, after).
Padding = int | Sequence[int | Sequence[int]]

Sides = tuple[tuple[int, int], ...]


def remembered(make: Callable[..., Window]) -> Callable[..., Window]:
    """``make`` with its windows cached by argument: each layer asks for the same one at every step.

    Errors are not cached. Lists cannot be keys, so with them the window is made each time.
    """
    kept = functools.lru_cache(maxsize=1024, typed=True)(make)

    @functools.wraps(make)
    def ask(*args: Any, **kwargs: Any) -> Window:
        try:
            return kept(*args, **kwargs)
        except TypeError:
            return make(*args, **kwargs)

    return ask


def pair(value: Pair | str, op: str, name: str, minimum: int) -> tuple[int, int]:
    """One number for both axes, or (vertical, horizontal); UsageError naming the argument otherwise."""
    both = _several(value, 2)
    if len(both) != 2 or any(not _is_whole(v, minimum) for v in both):
        raise UsageError(f"{here(op)}: {name}: expected an integer >= {minimum} or two of them; got {value!r}.")
    return both[0], both[1]


def triple(value: Pair | str, op: str, name: str, minimum: int) -> tuple[int, int, int]:
    """One number for all three axes, or (depth, vertical, horizontal); UsageError naming the argument otherwise."""
    found = _several(value, 3)
    if len(found) != 3 or any(not _is_whole(v, minimum) for v in found):
        raise UsageError(f"{here(op)}: {name}: expected an integer >= {minimum} or three of them; got {value!r}.")
    return found[0], found[1], found[2]


def single(value: Pair | str, op: str, name: str, minimum: int) -> int:
    """One number, or a sequence of one; UsageError naming the argument otherwise."""
    one = _several(value, 1)
    if len(one) != 1 or not _is_whole(one[0], minimum):
        raise UsageError(f"{here(op)}: {name}: expected an integer >= {minimum}; got {value!r}.")
    return int(one[0])


def _several(value: Any, count: int) -> tuple[Any, ...]:
    """``count`` times a whole number, or the members of a sequence, as Python's numbers where they are such."""
    if type(value) is int:
        return (value,) * count
    one = as_int(value)
    return (one,) * count if one is not None else tuple(as_int(v, v) for v in value)


def _is_whole(value: Any, minimum: int) -> bool:
    return type(value) is int and value >= minimum


def sides(
    padding: Padding | str,
    op: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Sides:
    """((top, bottom), (left, right)) of a ``padding`` argument, ((left, right),) on one axis, three pairs on three.

    Parameters
    ----------
    padding : int, sequence, "same" or "valid"
        One number, or per axis a number or (before, after). "same" keeps the size, with the odd zero of an
        even extent at the end, as in PyTorch; it needs stride 1. "valid" means no padding.
    op : str
        Named in errors.
    kernel, stride, dilation : sequence of int
        One number per axis.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    axes = len(kernel)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise UsageError(f"{here(op)}: padding: expected numbers, 'same' or 'valid'; got {padding!r}.")
        if padding == "same" and any(s != 1 for s in stride):
            raise UsageError(
                f"{here(op)}: padding='same' needs stride 1; got stride {tuple(stride)}. Give the padding as numbers."
            )
        total = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    found = tuple(_several(p, 2) for p in _several(padding, axes))
    if len(found) != axes or any(len(p) != 2 or not all(_is_whole(v, 0) for v in p) for p in found):
        each = ("(front, back)", "(top, bottom)", "(left, right)")[3 - axes :]
        several = ("", " or two of them", " or three of them")[axes - 1]
        raise UsageError(
            f"{here(op)}: padding: expected an integer >= 0{several}, or ({', '.join(each)}{',' * (axes == 1)}); got "
            f"{padding!r}."
        )
    return found


def unused_border(size: int, kernel: int, stride: int, padding_total: int, dilation: int = 1) -> int:
    """How many rows at the end of an axis, padded on both sides, are in no window.

    Parameters
    ----------
    size : int
        Length of the axis.
    kernel, stride, dilation : int
    padding_total : int
        Of both sides together.
    """
    extent = dilation * (kernel - 1) + 1
    room = size + padding_total - extent
    return room % stride if room >= 0 else size + padding_total


@dataclass(frozen=True)
class Window:
    """How a window of R x S elements slides over an (H, W) image, giving (P, Q) outputs.

    P = floor((H + top + bottom - dilation_h (R - 1) - 1) / stride_h) + 1 (lecture topic L10); ceil_mode
    rounds up, as long as the last window starts inside the image or its top padding.

    Attributes
    ----------
    padding : (int, int)
        Top, left.
    end_padding : (int, int) or None
        Bottom, right; None: as ``padding``.
    """

    H: int
    W: int
    R: int
    S: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool = False
    end_padding: tuple[int, int] | None = None

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        # Windows are keys of caches that are queried for every block.
        return hash((self.H, self.W, self.R, self.S, self.stride, self.padding, self.dilation, self.ceil_mode))

    @property
    def after(self) -> tuple[int, int]:
        """Bottom and right padding."""
        return self.padding if self.end_padding is None else self.end_padding

    @functools.cached_property
    def P(self) -> int:
        return self._length(self.H, self.R, 0)

    @functools.cached_property
    def Q(self) -> int:
        return self._length(self.W, self.S, 1)

    def _length(self, n: int, k: int, axis: int) -> int:
        stride, pad = self.stride[axis], self.padding[axis]
        room = n + pad + self.after[axis] - self.dilation[axis] * (k - 1) - 1
        length = (room + (stride - 1 if self.ceil_mode else 0)) // stride + 1
        if self.ceil_mode and (length - 1) * stride >= n + pad:
            length -= 1  # a window that starts beyond the image reads nothing
        return length

    @property
    def unused(self) -> tuple[int, int]:
        """Rows and columns of the padded image at the bottom and right that no window reaches."""
        return self._unused(self.H, self.R, self.P, 0), self._unused(self.W, self.S, self.Q, 1)

    def _unused(self, n: int, k: int, outputs: int, axis: int) -> int:
        total = self.padding[axis] + self.after[axis]
        if not self.ceil_mode:
            return unused_border(n, k, self.stride[axis], total, self.dilation[axis])
        reached = (outputs - 1) * self.stride[axis] + self.dilation[axis] * (k - 1) + 1
        return max(0, n + total - reached)

    @property
    def taps_inside(self) -> int:
        """Pairs of an output position and a window element that is inside the image, not in its padding."""
        rows = self._inside(self.H, self.R, self.P, 0)
        return rows * self._inside(self.W, self.S, self.Q, 1)

    def _inside(self, n: int, k: int, outputs: int, axis: int) -> int:
        step, spread, pad = self.stride[axis], self.dilation[axis], self.padding[axis]
        return sum(0 <= p * step + r * spread - pad < n for p in range(outputs) for r in range(k))

    def check(self, op: str, names: tuple[str, str] = ("height", "width")) -> None:
        """Raise ShapeError if the window does not fit into the padded image, whose axes have these names."""
        for axis, n, k, name in ((0, self.H, self.R, names[0]), (1, self.W, self.S, names[1])):
            before, after = self.padding[axis], self.after[axis]
            extent, room = self.dilation[axis] * (k - 1) + 1, n + before + after
            if extent > room:
                pads = f"2*{before}" if before == after else f"{before} + {after}"
                raise ShapeError(
                    f"{here(op)}: the window is {extent} in {name} (kernel {k}, dilation {self.dilation[axis]}), "
                    f"larger than the input with padding, {n} + {pads} = {room}. "
                    "Use a smaller kernel or more padding; too many poolings before this layer are the usual cause."
                )

    def refuse_unused(self, op: str) -> None:
        """Raise ShapeError if rows or columns of the padded image are in no window (``strict=True``)."""
        rows, columns = self.unused
        if not rows and not columns:
            return
        pads = [str(a) if a == b else f"{a}/{b}" for a, b in zip(self.padding, self.after, strict=True)]
        raise ShapeError(
            f"{here(op)}: strict: expected windows to use the whole input; of {self.H}x{self.W} with "
            f"padding {pads[0]}, {pads[1]} the last {rows} row(s) and {columns} column(s) are in no window of "
            f"{self.R}x{self.S} at stride {self.stride[0]}, {self.stride[1]}. Change padding or stride, or leave "
            "strict out."
        )
