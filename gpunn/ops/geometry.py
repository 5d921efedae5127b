"""Windows sliding over an image: the arithmetic that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpunn.errors import ShapeError, UsageError, where

Pair = int | Sequence[int]


def pair(value: Pair | str, op: str, name: str, minimum: int) -> tuple[int, int]:
    """One number for both axes, or (vertical, horizontal); UsageError naming the argument otherwise."""
    both: tuple[Any, ...] = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or any(not isinstance(v, int) or isinstance(v, bool) or v < minimum for v in both):
        raise UsageError(f"{where(op)}: {name}: expected an integer >= {minimum} or two of them; got {value!r}.")
    return both[0], both[1]


@dataclass(frozen=True)
class Window:
    """How a window of R x S elements slides over an (H, W) image, giving (P, Q) outputs.

    P = floor((H + 2 pad_h - dilation_h (R - 1) - 1) / stride_h) + 1 (lecture topic L10); ceil_mode
    rounds up, as long as the last window starts inside the image or its left padding.
    """

    H: int
    W: int
    R: int
    S: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool = False

    @property
    def P(self) -> int:
        return self._length(self.H, self.R, 0)

    @property
    def Q(self) -> int:
        return self._length(self.W, self.S, 1)

    def _length(self, n: int, k: int, axis: int) -> int:
        stride, pad = self.stride[axis], self.padding[axis]
        room = n + 2 * pad - self.dilation[axis] * (k - 1) - 1
        length = (room + (stride - 1 if self.ceil_mode else 0)) // stride + 1
        if self.ceil_mode and (length - 1) * stride >= n + pad:
            length -= 1  # a window that starts beyond the image sees nothing
        return length

    @property
    def unused(self) -> tuple[int, int]:
        """Rows and columns of the padded image at the bottom and right that no window reaches."""
        return self._unused(self.H, self.R, self.P, 0), self._unused(self.W, self.S, self.Q, 1)

    def _unused(self, n: int, k: int, outputs: int, axis: int) -> int:
        reached = (outputs - 1) * self.stride[axis] + self.dilation[axis] * (k - 1) + 1
        return max(0, n + 2 * self.padding[axis] - reached)

    def check(self, op: str) -> None:
        """Raise ShapeError if the window does not fit into the padded image."""
        for axis, n, k, name in ((0, self.H, self.R, "height"), (1, self.W, self.S, "width")):
            extent, room = self.dilation[axis] * (k - 1) + 1, n + 2 * self.padding[axis]
            if extent > room:
                raise ShapeError(
                    f"{where(op)}: the window is {extent} in {name} (kernel {k}, dilation {self.dilation[axis]}), "
                    f"larger than the input with padding, {n} + 2*{self.padding[axis]} = {room}. "
                    "Use a smaller kernel or more padding; too many poolings before this layer are the usual cause."
                )
