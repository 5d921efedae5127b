"""Softmax layers."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn.module import Module
from gpunn.ops.log_softmax import log_softmax
from gpunn.ops.softmax import softmax


class _AlongAxis(Module):
    """What :class:`Softmax` and :class:`LogSoftmax` share: the axis, which must be given."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is None:
            raise UsageError(
                f"{type(self).__name__}: dim: expected the axis whose elements are to sum to 1; got None. "
                "For scores (N, C) it is 1."
            )
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along one axis; backward is the product with the full Jacobian.

    For training a classifier, :class:`CrossEntropyLoss` on the scores does this and the loss in one.

    Parameters
    ----------
    dim : int
        The axis; must be given.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError, DTypeError
        If dim is None or not an axis of x, or x is not floating.

    References
    ----------
    Lecture topic L2.
    """

    def forward(self, x: Tensor) -> Tensor:
        return softmax(x, self.dim)


class LogSoftmax(_AlongAxis):
    """x - log(sum(exp(x))) along one axis; followed by :class:`NLLLoss` it equals :class:`CrossEntropyLoss`.

    Parameters
    ----------
    dim : int
        The axis; must be given.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError, DTypeError
        If dim is None or not an axis of x, or x is not floating.

    References
    ----------
    Lecture topic L2.
    """

    def forward(self, x: Tensor) -> Tensor:
        return log_softmax(x, self.dim)


class Softmax2d(Module):
    """exp(x) / sum(exp(x)) over the channels of each pixel.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError
        If x has other axes, or is not floating.

    References
    ----------
    Lecture topic L2.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (3, 4):
            raise ShapeError(f"{here('Softmax2d')}: expected x (N, C, H, W) or (C, H, W); got {x.shape}.")
        return softmax(x, -3)
