"""Local response normalisation."""

from __future__ import annotations

from gpunn._shared.activations import number
from gpunn._tensor import Tensor
from gpunn.composed.norms import local_response_norm
from gpunn.nn._arguments import whole
from gpunn.nn.module import Module


class LocalResponseNorm(Module):
    """x / (k + alpha mean(x²)) ** beta, with the mean over ``size`` neighbouring channels at the same position.

    Parameters
    ----------
    size : int
        How many channels; beyond the first and the last channel there are zeros, which count in the mean.
    alpha, beta, k : float
        The paper's alpha is this one over ``size``.

    Shape
    -----
    x : (N, C, *) float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError
        If x has less than three axes, or is not floating; the message names the layer.

    References
    ----------
    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks", 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        op = "LocalResponseNorm"
        self.size = whole(op, "size", size)
        for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            number(op, name, value)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
