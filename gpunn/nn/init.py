"""Initial values for parameters, under PyTorch's names.

Numbers are drawn on the host in logical order, so that a seed gives the same weights on every
device. Each function writes in place and returns the tensor.
"""

from __future__ import annotations

import math

import numpy as np

from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError
from gpunn.random import Generator, default_generator
from gpunn.tape import no_grad

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much to scale weights so that a signal keeps its size through ``nonlinearity``.

    Parameters
    ----------
    nonlinearity : str
        linear, conv1d, conv2d, sigmoid, tanh, relu, leaky_relu or selu.
    param : float, optional
        The negative slope of leaky_relu, 0.01 if not given.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise UsageError(f"calculate_gain: expected one of {known}; got {nonlinearity!r}.")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Of a weight (out, in, ...): how many inputs an output sums, and how many outputs an input reaches."""
    if tensor.ndim < 2:
        raise ShapeError(f"init: fan in and fan out need a weight of two axes or more; got shape {tensor.shape}.")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise UsageError(f"init: mode: expected 'fan_in' or 'fan_out'; got {mode!r}.")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _write(tensor: Tensor, values: np.ndarray) -> Tensor:
    with no_grad():
        return tensor.copy_(values)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform on [a, b)."""
    return _write(tensor, (generator or default_generator()).uniform(a, b, tensor.shape, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Gaussian."""
    return _write(tensor, (generator or default_generator()).normal(mean, std, tensor.shape, tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere; 0.1 for the bias of a ReLU layer keeps its units from starting dead."""
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform on ±gain·sqrt(3 / fan): variance gain² / fan.

    Parameters
    ----------
    a : float
        Negative slope of the leaky ReLU that follows; 0 is ReLU.
    mode : str
        ``"fan_in"`` keeps the size of the forward signal, ``"fan_out"`` that of the gradient.

    References
    ----------
    He, Zhang, Ren, Sun 2015, "Delving deep into rectifiers", arXiv:1502.01852; lecture topic L18.
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / max(_fan(tensor, mode), 1))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Gaussian with standard deviation gain / sqrt(fan); see :func:`kaiming_uniform_`."""
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(_fan(tensor, mode), 1))
    return normal_(tensor, 0.0, std, generator)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / max(sum(_calculate_fan_in_and_fan_out(tensor)), 1))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain² · 2 / (fan in + fan out).

    References
    ----------
    Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks"; lecture topic L18.
    """
    bound = math.sqrt(3) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Gaussian with variance gain² · 2 / (fan in + fan out); see :func:`xavier_uniform_`."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """PyTorch's default for Linear and Conv2d: both uniform on ±1 / sqrt(fan in)."""
    # kaiming_uniform with a = sqrt(5): gain² = 2 / (1 + 5) = 1/3, so the bound is 1 / sqrt(fan in).
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(max(_calculate_fan_in_and_fan_out(weight)[0], 1))
        uniform_(bias, -bound, bound)
