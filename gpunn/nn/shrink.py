"""Activation layers that cut at thresholds, and the leaky ReLU with random slopes."""

from __future__ import annotations

from gpunn._shared.activations import number
from gpunn._tensor import Tensor
from gpunn.composed.shrink import hardshrink, rrelu, softshrink, threshold
from gpunn.errors import UsageError
from gpunn.nn.module import Module
from gpunn.random import default_generator


class Hardshrink(Module):
    """x where it is below -``lambd`` or above it, else 0.

    Parameters
    ----------
    lambd : float
        Half the width of what becomes 0.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        number("Hardshrink", "lambd", lambd)
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """x moved towards 0 by ``lambd``, and 0 where that would go beyond.

    Parameters
    ----------
    lambd : float
        At least 0.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Donoho 1995, "De-noising by soft-thresholding".
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        if number("Softshrink", "lambd", lambd) < 0:
            raise UsageError(f"Softshrink: lambd: expected a number of at least 0; got {lambd}.")
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Threshold(Module):
    """x where it is above a threshold, else ``value``.

    Parameters
    ----------
    threshold, value : float
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Of PyTorch; its source names none.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        number("Threshold", "threshold", threshold)
        number("Threshold", "value", value)
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return threshold(x, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class RReLU(Module):
    """x where it is above 0, else x times a slope: drawn for each element in training, the middle in evaluation.

    Parameters
    ----------
    lower, upper : float
        Slopes are uniform between them. They are drawn on the host.
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Attributes
    ----------
    generator : Generator
        Where slopes come from: the layer's own, derived from the default generator when the layer is made.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Xu, Wang, Chen, Li 2015, arXiv:1505.00853.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        if number("RReLU", "lower", lower) > number("RReLU", "upper", upper):
            raise UsageError(f"RReLU: lower: expected at most upper, {upper}; got {lower}.")
        self.lower = lower
        self.upper = upper
        self.inplace = inplace
        self.generator = default_generator().spawn("RReLU")

    def forward(self, x: Tensor) -> Tensor:
        return rrelu(x, self.lower, self.upper, self.training, self.inplace, self.generator)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")
