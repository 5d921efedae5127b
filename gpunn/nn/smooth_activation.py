"""Activation layers without kinks: sigmoid, tanh and functions built from them, GELU."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.nn.module import Module
from gpunn.ops.gelu import gelu
from gpunn.ops.logsigmoid import logsigmoid
from gpunn.ops.sigmoid import sigmoid
from gpunn.ops.silu import silu
from gpunn.ops.softplus import softplus
from gpunn.ops.tanh import tanh


class Sigmoid(Module):
    """1 / (1 + exp(-x)), element by element: between 0 and 1.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Lecture topic L4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))), element by element, exact also where the sigmoid rounds to 0.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Lecture topic L4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return logsigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent, element by element: between -1 and 1.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Lecture topic L4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return tanh(x)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, element by element: a smooth max(x, 0).

    Parameters
    ----------
    beta : float
        How sharply it bends; not 0.
    threshold : float
        Where beta x is above it, the output is x itself.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If beta is 0.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau, Garcia 2001, "Incorporating second-order functional knowledge for better
    option pricing"; lecture topic L4.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class SiLU(Module):
    """x / (1 + exp(-x)), element by element: x times its own sigmoid.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Elfwing, Uchibe, Doya 2018, arXiv:1702.03118; lecture topic L4.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return silu(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class GELU(Module):
    """x times the probability that a normally distributed number is below x.

    Parameters
    ----------
    approximate : str
        "none": the error function. "tanh": a formula with tanh, up to 5e-4 off.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If ``approximate`` is neither.

    References
    ----------
    Hendrycks, Gimpel 2016, arXiv:1606.08415; lecture topic L4.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"
