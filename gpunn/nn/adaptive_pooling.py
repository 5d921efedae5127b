"""Adaptive pooling layers: as many windows as outputs are wanted."""

from __future__ import annotations

from typing import Any

from gpunn._shared.pooling import OutputSize, output_sizes
from gpunn._tensor import Tensor
from gpunn.nn.module import Module
from gpunn.ops.adaptive_avg_pool1d import adaptive_avg_pool1d
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from gpunn.ops.adaptive_max_pool1d import adaptive_max_pool1d
from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d


class AdaptiveAvgPool1d(Module):
    """The mean of each of P windows that cover a sequence.

    Parameters
    ----------
    output_size : int or None
        P; None keeps the input's length.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, C, P) or (C, P)

    Output p averages elements floor(p L / P) to ceil((p + 1) L / P).

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a sequence; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        output_sizes("AdaptiveAvgPool1d", output_size, (1,))
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool1d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(Module):
    """The mean of each of P x Q windows that cover an image; with one window, the global mean.

    Parameters
    ----------
    output_size : int, None, or two of them
        P and Q, or one number for both; None keeps the input's size.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, C, P, Q) or (C, P, Q)

    Output p averages rows floor(p H / P) to ceil((p + 1) H / P), columns likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such an image; the message names the layer.

    References
    ----------
    Lecture topic L15; global average pooling: Lin, Chen, Yan 2013, arXiv:1312.4400.
    """

    def __init__(self, output_size: OutputSize) -> None:
        super().__init__()
        output_sizes("AdaptiveAvgPool2d", output_size, (1, 1))
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(Module):
    """The largest element of each of P windows that cover a sequence.

    Parameters
    ----------
    output_size : int
        P; None keeps the input's length.
    return_indices : bool
        Also return the index of each maximum: a pair.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, C, P) or (C, P)

    Output p reads elements floor(p L / P) to ceil((p + 1) L / P).

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a sequence; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        output_sizes("AdaptiveMaxPool1d", output_size, (1,))
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return adaptive_max_pool1d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The largest element of each of P x Q windows that cover an image.

    Parameters
    ----------
    output_size : int, None, or two of them
        P and Q, or one number for both; None keeps the input's size.
    return_indices : bool
        Also return where each maximum was, as h W + w: a pair.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, C, P, Q) or (C, P, Q)

    Output p reads rows floor(p H / P) to ceil((p + 1) H / P), columns likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such an image; the message names the layer.

    References
    ----------
    Lecture topic L15.
    """

    def __init__(self, output_size: OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        output_sizes("AdaptiveMaxPool2d", output_size, (1, 1))
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
