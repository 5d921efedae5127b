"""Layers that take images apart into columns and put them together again."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn._window import Pair, pair
from gpunn.composed.unfold import fold, unfold
from gpunn.nn.module import Module


class Unfold(Module):
    """The windows of a convolution, one column each.

    Parameters
    ----------
    kernel_size, dilation, stride : int or (int, int)
        Vertical, horizontal.
    padding : int or (int, int)
        Rows and columns of zeros on each side.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, C R S, P Q) or (C R S, P Q)

    Raises
    ------
    UsageError
        If an argument is invalid.
    ShapeError, DTypeError
        If x is not such an image or smaller than the window; the message names the layer.

    References
    ----------
    Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
    """

    def __init__(self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> None:
        super().__init__()
        _check("Unfold", kernel_size, dilation, padding, stride)
        # Kept as given, for the repr.
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns added up where they come from: the transpose of :class:`Unfold`, not its inverse where windows overlap.

    Parameters
    ----------
    output_size : int or (int, int)
        H, W of the image.
    kernel_size, dilation, stride : int or (int, int)
        Vertical, horizontal.
    padding : int or (int, int)
        Rows and columns on each side that are left out.

    Shape
    -----
    x : (N, C R S, P Q) or (C R S, P Q), float32 or float64;  y : (N, C, H, W) or (C, H, W)

    Raises
    ------
    UsageError
        If an argument is invalid.
    ShapeError, DTypeError
        If x does not have the rows and columns of such windows; the message names the layer.

    References
    ----------
    Chellapilla, Puri, Simard 2006, "High performance convolutional neural networks for document processing".
    """

    def __init__(
        self, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
    ) -> None:
        super().__init__()
        pair(output_size, "Fold", "output_size", 1)
        _check("Fold", kernel_size, dilation, padding, stride)
        # Kept as given, for the repr.
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


def _check(layer: str, kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair) -> None:
    """Raise for wrong arguments when the layer is made, not at the first batch."""
    least = {"kernel_size": kernel_size, "dilation": dilation, "stride": stride}
    for name, value in least.items():
        pair(value, layer, name, 1)
    pair(padding, layer, "padding", 0)
