"""Pooling layers for volumes."""

from __future__ import annotations

from typing import Any

from gpunn._shared.pooling import OutputSize, output_sizes
from gpunn._tensor import Tensor
from gpunn._window import Pair
from gpunn.composed.pool3d import adaptive_avg_pool3d, adaptive_max_pool3d, avg_pool3d, max_pool3d, volume_windows
from gpunn.nn.module import Module
from gpunn.ops.avg_pool2d import checked_divisor

_ROOM = (1 << 30,) * 3  # a volume that any window fits into: arguments are checked before there is one


class MaxPool3d(Module):
    """The largest element of each window of (N, C, D, H, W) volumes.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (int, int, int)
        Along depth, vertical, horizontal. The stride is the kernel size if not given; padding counts as minus infinity
        and is at most half the kernel.
    return_indices : bool
        Also return where each maximum was, as (d H + h) W + w: a pair.
    ceil_mode : bool
        Round the output size up instead of down.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, C, O, P, Q) or (C, O, P, Q)

    O = floor((D + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, P and Q likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a volume or smaller than the window; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        # Kept as given, for the repr.
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        volume_windows("MaxPool3d", _ROOM, kernel_size, self.stride, padding, dilation, ceil_mode)

    def forward(self, x: Tensor) -> Any:
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return max_pool3d(x, *options, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool3d(Module):
    """The mean of each window of (N, C, D, H, W) volumes.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int, int)
        Along depth, vertical, horizontal. The stride is the kernel size if not given; padding is zeros, at most half
        the kernel.
    ceil_mode : bool
        Round the output size up instead of down.
    count_include_pad : bool
        Whether elements of the padding count in the mean.
    divisor_override : int, optional
        Divide the sums by this instead of the number of elements.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, C, O, P, Q) or (C, O, P, Q)

    O = floor((D + 2 padding - kernel) / stride) + 1, P and Q likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a volume or smaller than the window; the message names the layer.

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
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = checked_divisor("AvgPool3d", divisor_override) or None
        volume_windows("AvgPool3d", _ROOM, kernel_size, self.stride, padding, 1, ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        options = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return avg_pool3d(x, *options, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool3d(Module):
    """The mean of each of O x P x Q windows that cover a volume.

    Parameters
    ----------
    output_size : int, None, or three of them
        O, P and Q, or one number for all; None keeps the input's size.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, C, O, P, Q) or (C, O, P, Q)

    Output o averages slices floor(o D / O) to ceil((o + 1) D / O), rows and columns likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a volume; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        output_sizes("AdaptiveAvgPool3d", output_size, (1, 1, 1))
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool3d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool3d(Module):
    """The largest element of each of O x P x Q windows that cover a volume.

    Parameters
    ----------
    output_size : int, None, or three of them
        O, P and Q, or one number for all; None keeps the input's size.
    return_indices : bool
        Also return where each maximum was, as (d H + h) W + w: a pair.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, C, O, P, Q) or (C, O, P, Q)

    Output o reads slices floor(o D / O) to ceil((o + 1) D / O), rows and columns likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a volume; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        output_sizes("AdaptiveMaxPool3d", output_size, (1, 1, 1))
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return adaptive_max_pool3d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
