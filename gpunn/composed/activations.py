"""Activations made of other ops."""

from __future__ import annotations

from gpunn._in_place import rewrite
from gpunn._shared.activations import check_floating, number
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.clamp import clamp
from gpunn.ops.elu import elu
from gpunn.ops.hardtanh import relu6
from gpunn.ops.relu import relu
from gpunn.ops.sigmoid import sigmoid
from gpunn.ops.softplus import softplus
from gpunn.ops.split import split
from gpunn.ops.tanh import tanh
from gpunn.ops.unary import abs_, expm1

# Klambauer and others 2017, equation 14: with these, mean 0 and variance 1 are a fixed point.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6, element by element: a sigmoid of three straight lines.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient at -3 and at 3 is 0.

    Raises
    ------
    DTypeError
        If x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> hardsigmoid(gpunn.tensor([-4.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]

    References
    ----------
    Courbariaux, Bengio, David 2015, arXiv:1511.00363, there with another slope.
    """
    if inplace:
        return rewrite(x, "hardsigmoid_", hardsigmoid, give_up=True)
    check_floating("hardsigmoid", x)
    return relu6(x + 3) / 6


def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6, element by element: SiLU with straight lines for the sigmoid.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient is 0 at -3 and 1 at 3.

    Raises
    ------
    DTypeError
        If x is not floating.

    Examples
    --------
    >>> import gpunn
    >>> hardswish(gpunn.tensor([-4.0, 0.0, 3.0])).tolist()
    [-0.0, 0.0, 3.0]

    References
    ----------
    Howard and others 2019, arXiv:1905.02244.
    """
    if inplace:
        return rewrite(x, "hardswish_", hardswish, give_up=True)
    check_floating("hardswish", x)
    return x * relu6(x + 3) / 6


def mish(x: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(log(1 + exp(x))), element by element.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Misra 2019, arXiv:1908.08681.
    """
    if inplace:
        return rewrite(x, "mish_", mish, give_up=True)
    check_floating("mish", x)
    return x * tanh(softplus(x))


def selu(x: Tensor, inplace: bool = False) -> Tensor:
    """An ELU whose slopes keep mean 0 and variance 1 from layer to layer: 1.0507 ELU(x) with alpha 1.6733.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515.
    """
    if inplace:
        return rewrite(x, "selu_", selu, give_up=True)
    check_floating("selu", x)
    return elu(x, _SELU_ALPHA) * _SELU_SCALE


def celu(x: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(0, ``alpha`` (exp(x / alpha) - 1)): an ELU with slope 1 on both sides of 0.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    alpha : float
        Not 0; far below 0 the output is -alpha.
    inplace : bool
        Whether x becomes the result, for all its names and views.

    Returns
    -------
    Tensor
        Like x. The gradient at 0 is 1.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If alpha is 0 or not a finite number.

    References
    ----------
    Barron 2017, arXiv:1704.07483.
    """
    if inplace:
        return rewrite(x, "celu_", lambda old: celu(old, alpha), give_up=True)
    check_floating("celu", x)
    alpha = number("celu", "alpha", alpha)
    if alpha == 0:
        raise UsageError(f"{here('celu')}: alpha: expected another number than 0; got {alpha}.")
    # Two halves, each 0 on the other's side: exp of a large x would overflow, and its gradient be NaN.
    return relu(x) + expm1(clamp(x, max=0) / alpha) * alpha


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|), element by element: between -1 and 1.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Bergstra, Desjardins, Lamblin, Bengio 2009, "Quadratic polynomials learn better image features".
    """
    check_floating("softsign", x)
    return x / (abs_(x) + 1)


def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x), element by element.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.

    References
    ----------
    Of PyTorch; its source names none.
    """
    check_floating("tanhshrink", x)
    return x - tanh(x)


def glu(x: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of x along ``dim``: a gated linear unit.

    Parameters
    ----------
    x : Tensor
        float32 or float64, of even length along ``dim``.
    dim : int
        The axis that is halved.

    Returns
    -------
    Tensor
        Like x, half as long along ``dim``.

    Raises
    ------
    DTypeError
        If x is not floating.
    ShapeError
        If that length is odd, or x has no axes.

    Examples
    --------
    >>> import gpunn
    >>> glu(gpunn.tensor([[3.0, 5.0, 0.0, 0.0]])).tolist()
    [[1.5, 2.5]]

    References
    ----------
    Dauphin, Fan, Auli, Grangier 2016, arXiv:1612.08083.
    """
    op = "glu"
    check_floating(op, x)
    if not x.ndim:
        raise ShapeError(f"{here(op)}: expected a tensor with an axis that can be halved; got a number.")
    axis = axis_of(op, x, dim)
    if x.shape[axis] % 2:
        raise ShapeError(f"{here(op)}: expected an even length along axis {axis}; got x of shape {x.shape}.")
    a, b = split(x, x.shape[axis] // 2, axis) if x.shape[axis] else (x, x)
    return a * sigmoid(b)
