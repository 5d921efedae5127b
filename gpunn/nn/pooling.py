"""Pooling layers."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn._arguments import refuse_unused
from gpunn.nn.module import Module
from gpunn.ops.geometry import Pair, Window, pair
from gpunn.ops.max_pool2d import max_pool2d


class MaxPool2d(Module):
    """The largest element of each window of (N, C, H, W) images.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given; padding counts as minus
        infinity and is at most half the kernel.
    return_indices : bool
        Only False; here because it is PyTorch's fifth argument.
    ceil_mode : bool
        Round the output size up instead of down.
    strict : bool
        Raise if the stride leaves rows or columns at the border unused.

    Shape
    -----
    x : (N, C, H, W) float32 or float64;  y : (N, C, P, Q)

    P = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, Q likewise.

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
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        op = "MaxPool2d"
        if return_indices:
            raise UsageError(f"{op}: return_indices=True is not supported; only the maxima are returned.")
        # Kept as given, for the repr.
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        self.strict = strict
        self.window(1, 1)  # wrong arguments are told of here, not at the first batch

    def window(self, height: int, width: int) -> Window:
        """How the window slides over an image of this size; its P and Q are the output's."""
        op = "MaxPool2d"
        return Window(
            height,
            width,
            *pair(self.kernel_size, op, "kernel_size", 1),
            pair(self.stride, op, "stride", 1),
            pair(self.padding, op, "padding", 0),
            pair(self.dilation, op, "dilation", 1),
            self.ceil_mode,
        )

    def forward(self, x: Tensor) -> Tensor:
        y = max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        if self.strict:
            refuse_unused("max_pool2d", self.window(*x.shape[2:]))
        return y

    def extra_repr(self) -> str:
        text = (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )
        return text + (", strict=True" if self.strict else "")
