"""Pooling layers."""

from __future__ import annotations

from typing import Any

from gpunn._shared.pooling import image_window, sequence_window
from gpunn._tensor import Tensor
from gpunn._window import Pair, Window, single
from gpunn.nn.module import Module
from gpunn.ops.avg_pool1d import avg_pool1d
from gpunn.ops.avg_pool2d import avg_pool2d, checked_divisor
from gpunn.ops.max_pool1d import max_pool1d
from gpunn.ops.max_pool2d import max_pool2d

Arguments = tuple[Pair, Pair, Pair, Pair, bool]  # kernel size, stride, padding, dilation, ceil_mode
_ROOM = 1 << 30  # an image size that any window fits into: arguments are checked before there is an image


class _MaxPool(Module):
    """What :class:`MaxPool1d` and :class:`MaxPool2d` share; they differ in the op."""

    _axes: int

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        # Kept as given, for the repr.
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        self.strict = strict
        _check(self, self._axes, self._arguments())

    def _arguments(self) -> Arguments:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def extra_repr(self) -> str:
        text = (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )
        return text + (", strict=True" if self.strict else "")


def _check(layer: Module, axes: int, arguments: Arguments) -> None:
    """Raise for wrong arguments when the layer is made, not at the first batch."""
    op = type(layer).__name__
    if axes == 1:
        sequence_window(op, _ROOM, *arguments, False)
    else:
        image_window(op, (_ROOM, _ROOM), *arguments, False)


class MaxPool1d(_MaxPool):
    """The largest element of each window of (N, C, L) sequences.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int
        The stride is the kernel size if not given; padding counts as minus infinity and is at
        most half the kernel.
    return_indices : bool
        Also return where each maximum was: a pair.
    ceil_mode : bool
        Round the output size up instead of down.
    strict : bool
        Raise if the stride leaves elements at the end unused.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, C, P) or (C, P)

    P = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a sequence or shorter than the window; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    _axes = 1

    def window(self, length: int) -> Window:
        """How the window slides over a sequence, an image of ``length`` rows and one column."""
        return sequence_window("MaxPool1d", length, *self._arguments(), False)

    def forward(self, x: Tensor) -> Any:
        kernel, stride, padding, dilation, ceil_mode = self._arguments()
        return max_pool1d(x, kernel, stride, padding, dilation, ceil_mode, self.return_indices, strict=self.strict)


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W) images.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given; padding counts as minus
        infinity and is at most half the kernel.
    return_indices : bool
        Also return where each maximum was, as h W + w: a pair.
    ceil_mode : bool
        Round the output size up instead of down.
    strict : bool
        Raise if the stride leaves rows or columns at the border unused.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, C, P, Q) or (C, P, Q)

    P = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such an image or smaller than the window; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    _axes = 2

    def window(self, height: int, width: int) -> Window:
        """How the window slides over an image of this size; its P and Q are the output's."""
        return image_window("MaxPool2d", (height, width), *self._arguments(), False)

    @property
    def rectifies(self) -> bool:
        """Whether :meth:`forward` takes ``activation="relu"``: not with indices."""
        return not self.return_indices

    def forward(self, x: Tensor, *, activation: str | None = None, flatten: bool = False) -> Any:
        """Apply the layer, ``activation``, and with ``flatten`` merge all axes but the batch's, in one pass."""
        arguments = (*self._arguments(), self.return_indices)
        return max_pool2d(x, *arguments, activation=activation, strict=self.strict, flatten=flatten)


class AvgPool1d(Module):
    """The mean of each window of (N, C, L) sequences.

    Parameters
    ----------
    kernel_size, stride, padding : int
        The stride is the kernel size if not given; padding is zeros, at most half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    strict : bool
        Raise if the stride leaves elements at the end unused.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, C, P) or (C, P)

    P = floor((L + 2 padding - kernel) / stride) + 1.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a sequence or shorter than the window; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        op = "AvgPool1d"
        self.kernel_size = (single(kernel_size, op, "kernel_size", 1),)
        self.stride = self.kernel_size if stride is None else (single(stride, op, "stride", 1),)
        self.padding = (single(padding, op, "padding", 0),)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.strict = strict
        _check(self, 1, (self.kernel_size, self.stride, self.padding, 1, ceil_mode))

    def window(self, length: int) -> Window:
        """How the window slides over a sequence, an image of ``length`` rows and one column."""
        arguments = self.kernel_size, self.stride, self.padding, 1, self.ceil_mode
        return sequence_window("AvgPool1d", length, *arguments, False)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool1d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            strict=self.strict,
        )

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + (", strict=True" if self.strict else "")


class AvgPool2d(Module):
    """The mean of each window of (N, C, H, W) images.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given; padding is zeros, at most
        half the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    divisor_override : int, optional
        Divide the sums by this instead of the number of elements.
    strict : bool
        Raise if the stride leaves rows or columns at the border unused.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, C, P, Q) or (C, P, Q)

    P = floor((H + 2 padding - kernel) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such an image or smaller than the window; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = checked_divisor("AvgPool2d", divisor_override) or None
        self.strict = strict
        _check(self, 2, (kernel_size, self.stride, padding, 1, ceil_mode))

    def window(self, height: int, width: int) -> Window:
        """How the window slides over an image of this size; its P and Q are the output's."""
        arguments = self.kernel_size, self.stride, self.padding, 1, self.ceil_mode
        return image_window("AvgPool2d", (height, width), *arguments, False)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
            strict=self.strict,
        )

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + (", strict=True" if self.strict else "")
