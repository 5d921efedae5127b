"""Layers that put numbers where a max pooling took its maxima."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from gpunn._tensor import Tensor
from gpunn._window import Pair
from gpunn.nn.module import Module
from gpunn.ops.max_unpool2d import max_unpool1d, max_unpool2d, max_unpool3d, spans


class _MaxUnpool(Module):
    """What the reverse of max pooling over one to three axes shares."""

    axes: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = spans(
            type(self).__name__, self.axes, kernel_size, stride, padding
        )

    def forward(self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the layer to maxima and the indices that came with them."""
        return type(self).function(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Sequences of zeros, but for x's elements at the indices that a :class:`MaxPool1d` returned.

    Parameters
    ----------
    kernel_size, stride, padding : int
        Of the pooling. The stride is the kernel size if not given.

    Shape
    -----
    x, indices : (N, C, P) or (C, P), float32 or float64, and int64;  y : (N, C, L) or (C, L)

    L = (P - 1) stride - 2 padding + kernel, or ``output_size``.

    Raises
    ------
    ShapeError, RangeError, DTypeError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Zeiler, Fergus 2013, arXiv:1311.2901, 2.1.
    """

    axes = 1
    function = staticmethod(max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Images of zeros, but for x's elements at the indices that a :class:`MaxPool2d` returned.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        Of the pooling. The stride is the kernel size if not given.

    Shape
    -----
    x, indices : (N, C, P, Q) or (C, P, Q), float32 or float64, and int64;  y : (N, C, H, W) or (C, H, W)

    H = (P - 1) stride - 2 padding + kernel, W likewise, or ``output_size``.

    Raises
    ------
    ShapeError, RangeError, DTypeError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Zeiler, Fergus 2013, arXiv:1311.2901, 2.1.
    """

    axes = 2
    function = staticmethod(max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Volumes of zeros, but for x's elements at the indices that a :class:`MaxPool3d` returned.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int, int)
        Of the pooling. The stride is the kernel size if not given.

    Shape
    -----
    x, indices : (N, C, O, P, Q) or (C, O, P, Q), float32 or float64, and int64;  y : (N, C, D, H, W) or (C, D, H, W)

    D = (O - 1) stride - 2 padding + kernel, H and W likewise, or ``output_size``.

    Raises
    ------
    ShapeError, RangeError, DTypeError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Zeiler, Fergus 2013, arXiv:1311.2901, 2.1.
    """

    axes = 3
    function = staticmethod(max_unpool3d)
