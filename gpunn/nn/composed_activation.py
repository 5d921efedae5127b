"""Activation layers whose functions are made of other ops."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.composed.activations import celu, glu, hardsigmoid, hardswish, mish, selu, softsign, tanhshrink
from gpunn.nn.module import Module


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6) / 6, element by element: a sigmoid of three straight lines.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Courbariaux, Bengio, David 2015, arXiv:1511.00363, there with another slope.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return hardsigmoid(x, self.inplace)


class Hardswish(Module):
    """x min(max(x + 3, 0), 6) / 6, element by element: SiLU with straight lines for the sigmoid.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Howard and others 2019, arXiv:1905.02244.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return hardswish(x, self.inplace)


class Mish(Module):
    """x tanh(log(1 + exp(x))), element by element.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Misra 2019, arXiv:1908.08681.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return mish(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class SELU(Module):
    """An ELU whose slopes keep mean 0 and variance 1 from layer to layer: 1.0507 ELU(x) with alpha 1.6733.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return selu(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class CELU(Module):
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1)): an ELU with slope 1 on both sides of 0.

    Parameters
    ----------
    alpha : float
        Not 0; far below 0 the output is -alpha.
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If alpha is 0.

    References
    ----------
    Barron 2017, arXiv:1704.07483.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return celu(x, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}{', inplace=True' if self.inplace else ''}"


class Softsign(Module):
    """x / (1 + |x|), element by element: between -1 and 1.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Bergstra, Desjardins, Lamblin, Bengio 2009, "Quadratic polynomials learn better image features".
    """

    def forward(self, x: Tensor) -> Tensor:
        return softsign(x)


class Tanhshrink(Module):
    """x - tanh(x), element by element.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Of PyTorch; its source names none.
    """

    def forward(self, x: Tensor) -> Tensor:
        return tanhshrink(x)


class GLU(Module):
    """a sigmoid(b), where a and b are the halves of x along an axis: a gated linear unit.

    Parameters
    ----------
    dim : int
        The axis that is halved.

    Shape
    -----
    x : of even length along ``dim``, float32 or float64;  y : like x, half as long there

    Raises
    ------
    ShapeError
        If that length is odd.

    References
    ----------
    Dauphin, Fan, Auli, Grangier 2016, arXiv:1612.08083.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return glu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
