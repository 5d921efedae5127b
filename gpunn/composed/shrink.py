"""Activations that cut at thresholds, and the leaky ReLU with random slopes."""

from __future__ import annotations

from gpunn._creation_random import rand
from gpunn._in_place import rewrite
from gpunn._shared.activations import check_floating, number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.clamp import clamp
from gpunn.ops.leaky_relu import leaky_relu
from gpunn.ops.unary import abs_
from gpunn.ops.where import where
from gpunn.random import Generator


def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x where it is below -``lambd`` or above it, else 0.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    lambd : float
        Half the width of what becomes 0.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If lambd is not a finite number.

    Examples
    --------
    >>> import gpunn
    >>> hardshrink(gpunn.tensor([-1.0, 0.25, 2.0])).tolist()
    [-1.0, 0.0, 2.0]

    References
    ----------
    Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """
    check_floating("hardshrink", x)
    return where(abs_(x.detach()) <= number("hardshrink", "lambd", lambd), 0.0, x)


def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by ``lambd``, and 0 where that would go beyond.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    lambd : float
        At least 0.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If lambd is negative or not finite.

    Examples
    --------
    >>> import gpunn
    >>> softshrink(gpunn.tensor([-1.0, 0.25, 2.0])).tolist()
    [-0.5, 0.0, 1.5]

    References
    ----------
    Donoho 1995, "De-noising by soft-thresholding".
    """
    op = "softshrink"
    check_floating(op, x)
    width = number(op, "lambd", lambd)
    if width < 0:
        raise UsageError(f"{here(op)}: lambd: expected a number of at least 0; got {lambd}.")
    return x - clamp(x, -width, width)


def threshold(x: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above a threshold, else ``value``.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    threshold, value : float
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
    UsageError
        If threshold or value is not a finite number.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.nn.functional.threshold(gpunn.tensor([-1.0, 0.5]), 0.0, 7.0).tolist()
    [7.0, 0.5]

    References
    ----------
    Of PyTorch; its source names none.
    """
    op = "threshold"
    if inplace:
        return rewrite(x, "threshold_", lambda old: _above(old, threshold, value), give_up=True)
    check_floating(op, x)
    return _above(x, threshold, value)


def _above(x: Tensor, threshold: float, value: float) -> Tensor:
    least, filling = number("threshold", "threshold", threshold), number("threshold", "value", value)
    return where(x.detach() <= least, filling, x)  # so that NaN stays


def rrelu(
    x: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """x where it is above 0, else x times a slope, which in training is drawn for each element.

    Parameters
    ----------
    x : Tensor
        Any shape, float32 or float64.
    lower, upper : float
        Slopes are uniform between them; without ``training`` all are the middle.
    training : bool
        Whether slopes are drawn. They are drawn on the host.
    inplace : bool
        Whether x becomes the result, for all its names and views.
    generator : Generator, optional
        Where the slopes come from; the default generator if not given.

    Returns
    -------
    Tensor
        Like x.

    Raises
    ------
    DTypeError
        If x is not floating.
    UsageError
        If a bound is not a finite number, or lower is above upper.

    References
    ----------
    Xu, Wang, Chen, Li 2015, arXiv:1505.00853.
    """
    op = "rrelu"
    if inplace:
        return rewrite(x, "rrelu_", lambda old: rrelu(old, lower, upper, training, False, generator), give_up=True)
    check_floating(op, x)
    least, most = number(op, "lower", lower), number(op, "upper", upper)
    if least > most:
        raise UsageError(f"{here(op)}: lower: expected at most upper, {upper}; got {lower}.")
    if not training:
        return leaky_relu(x, (least + most) / 2)
    drawn = rand(*x.shape, dtype=x.dtype, device=x.device, generator=generator)
    return x * where(x.detach() > 0, 1.0, drawn * (most - least) + least)
