"""Activation layers with a kink: the rectifiers, maxout, the step. The others are in ``smooth_activation``."""

from __future__ import annotations

import warnings
from typing import Any

from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init as initial
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.absolute_relu import absolute_relu
from gpunn.ops.elu import elu
from gpunn.ops.hardtanh import hardtanh, relu6
from gpunn.ops.leaky_relu import leaky_relu
from gpunn.ops.maxout import maxout
from gpunn.ops.prelu import prelu
from gpunn.ops.relu import relu
from gpunn.ops.step import step


class ReLU(Module):
    """max(x, 0), element by element.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views. In a :class:`Sequential` a ReLU costs no
        memory of its own anyway where it is fused (``nn.fusion``).

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Nair, Hinton 2010; lecture topic L4.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return relu(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class AbsoluteReLU(Module):
    """|x|, element by element: a leaky ReLU of slope -1.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato, LeCun 2009, "What is the best multi-stage architecture for object
    recognition?"; lecture topic L4.
    """

    def forward(self, x: Tensor) -> Tensor:
        return absolute_relu(x)


class LeakyReLU(Module):
    """x where x > 0, else ``negative_slope`` times x.

    Parameters
    ----------
    negative_slope : float
        The lectures' alpha, often 0.01 or 0.1.
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models"; lecture topic L4.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where x > 0, else ``weight`` times x: a leaky ReLU whose slope is learned.

    Weight decay would pull the slope to 0, a plain ReLU: give the optimiser a parameter group without it.

    Parameters
    ----------
    num_parameters : int
        1 for a shared slope, or C for one per channel (axis 1).
    init : float
        The initial slope.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (num_parameters,)

    Shape
    -----
    x : any, float32 or float64; with C slopes (N, C, ...);  y : like x

    Raises
    ------
    ShapeError
        If x has a different number of channels; the message names the layer.

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1502.01852; lecture topic L4.
    """

    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Device | str | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = whole("PReLU", "num_parameters", num_parameters)
        self.init = init
        self.weight = new_parameter((self.num_parameters,), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to ``init``."""
        initial.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        return prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where x > 0, else ``alpha`` (exp(x) - 1).

    Parameters
    ----------
    alpha : float
        At least 0; far below 0 the output is -alpha.
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If alpha is negative.

    References
    ----------
    Clevert, Unterthiner, Hochreiter 2016, arXiv:1511.07289; lecture topic L4.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return elu(x, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Hardtanh(Module):
    """x clipped to between ``min_val`` and ``max_val``.

    Parameters
    ----------
    min_val, max_val : float
        The limits; the gradient at them and beyond is 0.
    inplace : bool
        Whether the input becomes the result, for all its names and views.
    min_value, max_value : float, optional
        Deprecated, as in PyTorch, names of ``min_val`` and ``max_val``.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If ``min_val`` is above ``max_val``.

    References
    ----------
    Collobert 2004, "Large scale machine learning"; lecture topic L4.
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        if min_value is not None or max_value is not None:
            warnings.warn("Hardtanh: min_value and max_value are called min_val and max_val.", stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        bounds = [real_number(type(self).__name__, "bounds", v, finite=False) for v in (self.min_val, self.max_val)]
        if not bounds[0] < bounds[1]:
            raise UsageError(
                f"{type(self).__name__}: expected min_val < max_val; got {self.min_val!r} and {self.max_val!r}."
            )
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return hardtanh(x, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """min(max(x, 0), 6), element by element.

    Parameters
    ----------
    inplace : bool
        Whether the input becomes the result, for all its names and views.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10"; lecture topic L4.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, x: Tensor) -> Tensor:
        return relu6(x, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Maxout(Module):
    """The largest of every ``k`` neighbours along an axis, which becomes k times shorter.

    Together with the layer before it, which has k outputs for each unit, it forms a maxout layer: each
    unit's activation is the largest of k linear pieces.

    Parameters
    ----------
    k : int
        How many pieces a unit has, 1 to 256.
    dim : int
        The axis; 1 for the channels of images.

    Shape
    -----
    x : (..., U k, ...) float32 or float64;  y : (..., U, ...)

    Raises
    ------
    ShapeError
        If k does not divide the length of the axis; the message names the layer.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> net = nn.Sequential(nn.Linear(4, 3 * 2), nn.Maxout(2))
    >>> net(gpunn.ones(5, 4)).shape
    (5, 3)

    References
    ----------
    Goodfellow, Warde-Farley, Mirza, Courville, Bengio 2013, arXiv:1302.4389; lecture topic L4.
    """

    def __init__(self, k: int, dim: int = -1) -> None:
        super().__init__()
        self.k = whole("Maxout", "k", k)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return maxout(x, self.k, self.dim)

    def extra_repr(self) -> str:
        return f"k={self.k}, dim={self.dim}"


class Step(Module):
    """1 where x >= 0, else 0: the perceptron's activation. It has no gradient.

    Its output never requires a gradient, so ``backward`` cannot train anything before it.

    Parameters
    ----------
    strict : bool
        1 only where x > 0.

    Shape
    -----
    x : any, float32 or float64;  y : like x

    References
    ----------
    Rosenblatt 1958, "The perceptron"; lecture topic L4.
    """

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.strict = strict

    def forward(self, x: Tensor) -> Tensor:
        return step(x, self.strict)

    def extra_repr(self) -> str:
        return "strict=True" if self.strict else ""
