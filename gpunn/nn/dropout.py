"""Dropout."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.ops.dropout import dropout
from gpunn.random import default_generator


class Dropout(Module):
    """In training, zero each element with probability p and scale the others by 1 / (1 - p).

    In evaluation it is the identity.

    Parameters
    ----------
    p : float
        0 to 1.
    inplace : bool
        Whether the input becomes the result in training, for all its names and views.

    Attributes
    ----------
    generator : Generator
        Where masks come from: the layer's own, derived from the default generator when the layer is
        made. So ``gpunn.manual_seed`` before that determines the masks, the same on every device.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting";
    lecture topic L9.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UsageError(f"Dropout: p: expected a probability from 0 to 1; got {p!r}.")
        self.p = p
        self.inplace = inplace
        self.generator = default_generator().spawn("Dropout")

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training, self.inplace, self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
