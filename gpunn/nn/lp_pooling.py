"""Pooling layers that take the p-norm of each window."""

from __future__ import annotations

from gpunn._shared.activations import number
from gpunn._tensor import Tensor
from gpunn._window import Pair, pair, single, triple
from gpunn.composed.lp_pool import lp_pool1d, lp_pool2d, lp_pool3d
from gpunn.errors import UsageError
from gpunn.nn.module import Module


class _LPPool(Module):
    """What pooling by the p-norm over one to three axes shares."""

    def __init__(
        self, norm_type: float, kernel_size: Pair, stride: Pair | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        op = type(self).__name__
        if number(op, "norm_type", norm_type) == 0:
            raise UsageError(f"{op}: norm_type: expected another number than 0; got {norm_type}.")
        # Kept as given, for the repr.
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode
        self._check(op, "kernel_size", kernel_size)
        if stride is not None:
            self._check(op, "stride", stride)

    def _check(self, op: str, name: str, value: Pair) -> None:
        pair(value, op, name, 1)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The root of the sum of powers of each window of a sequence: (sum of x ** p) ** (1 / p).

    Parameters
    ----------
    norm_type : float
        p, not 0. 1 is a sum; a large one comes near the maximum.
    kernel_size, stride : int
        The stride is the kernel size if not given.
    ceil_mode : bool
        Round the output size up instead of down.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : (N, C, P) or (C, P)

    P = floor((L - kernel) / stride) + 1.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a sequence or shorter than the window; the message names the layer.

    References
    ----------
    Sermanet, Chintala, LeCun 2012, arXiv:1204.3968.
    """

    def _check(self, op: str, name: str, value: Pair) -> None:
        single(value, op, name, 1)

    def forward(self, x: Tensor) -> Tensor:
        return lp_pool1d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPool):
    """The root of the sum of powers of each window of an image: (sum of x ** p) ** (1 / p).

    Parameters
    ----------
    norm_type : float
        p, not 0. 1 is a sum; a large one comes near the maximum.
    kernel_size, stride : int or (int, int)
        Vertical, horizontal. The stride is the kernel size if not given.
    ceil_mode : bool
        Round the output size up instead of down.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : (N, C, P, Q) or (C, P, Q)

    P = floor((H - kernel) / stride) + 1, Q likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such an image or smaller than the window; the message names the layer.

    References
    ----------
    Sermanet, Chintala, LeCun 2012, arXiv:1204.3968.
    """

    def forward(self, x: Tensor) -> Tensor:
        return lp_pool2d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPool):
    """The root of the sum of powers of each window of a volume: (sum of x ** p) ** (1 / p).

    Parameters
    ----------
    norm_type : float
        p, not 0. 1 is a sum; a large one comes near the maximum.
    kernel_size, stride : int or (int, int, int)
        Along depth, vertical, horizontal. The stride is the kernel size if not given.
    ceil_mode : bool
        Round the output size up instead of down.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : (N, C, O, P, Q) or (C, O, P, Q)

    O = floor((D - kernel) / stride) + 1, P and Q likewise.

    Raises
    ------
    ShapeError, DTypeError
        If x is not such a volume or smaller than the window; the message names the layer.

    References
    ----------
    Sermanet, Chintala, LeCun 2012, arXiv:1204.3968.
    """

    def _check(self, op: str, name: str, value: Pair) -> None:
        triple(value, op, name, 1)

    def forward(self, x: Tensor) -> Tensor:
        return lp_pool3d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)
