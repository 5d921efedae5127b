"""Initial values for parameters, under PyTorch's names.

Numbers are drawn on the host in logical order, so that a seed gives the same weights on every
device. Each function writes in place and returns the tensor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._calls import explains_all
from gpunn._half import FLOATING
from gpunn._promotion import category
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.cpu.blas import single_threaded_blas
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.nn._init_patterns import dirac_, eye_, older, sparse_
from gpunn.random import Generator, check_normal, check_uniform, generator_of
from gpunn.tape import no_grad

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_GAINS = {**dict.fromkeys(_LINEAR, 1.0), "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much to scale weights so that a signal keeps its size through ``nonlinearity``.

    Parameters
    ----------
    nonlinearity : str
        linear, conv1d to conv3d, conv_transpose1d to 3d, sigmoid (all 1), tanh (5/3), relu (√2),
        leaky_relu (√(2 / (1 + param²))) or selu (3/4).
    param : float, optional
        The negative slope of leaky_relu, 0.01 if not given.

    Raises
    ------
    UsageError
        If the nonlinearity is none of these, or the slope is not a number.

    Examples
    --------
    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float | np.number) or math.isnan(slope):
            raise UsageError(f"calculate_gain: param: expected leaky_relu's negative slope, a number; got {param!r}.")
        return math.sqrt(2 / (1 + min(abs(float(slope)), 1e150) ** 2))  # whose square is finite
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise UsageError(f"calculate_gain: expected one of {known}; got {nonlinearity!r}.")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """For a weight (out, in, ...): how many inputs an output sums, and how many outputs an input reaches."""
    if tensor.ndim < 2:
        raise ShapeError(f"init: fan in and fan out need a weight of two axes or more; got shape {tensor.shape}.")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise UsageError(f"init: mode: expected 'fan_in' or 'fan_out'; got {mode!r}.")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _check_floating(op: str, tensor: Tensor) -> None:
    if tensor.dtype.kind not in FLOATING:
        raise DTypeError(f"{op}: expected a floating dtype; got {tensor.dtype}. Convert with .float().")


def _write(tensor: Tensor, values: np.ndarray) -> Tensor:
    with no_grad():
        return tensor.copy_(values)


# -- one distribution for all elements ------------------------------------------------------------


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform on [a, b).

    Parameters
    ----------
    tensor : Tensor
        Written in place, and returned.
    a, b : float
        The interval.
    generator : Generator, optional
        The default one if not given.

    Raises
    ------
    UsageError
        If a is above b, or one of them not a finite number.
    """
    check_uniform("uniform_", a, b)
    _check_floating("uniform_", tensor)
    return _write(tensor, generator_of("uniform_", generator).uniform(a, b, tensor.shape, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Gaussian.

    Parameters
    ----------
    tensor : Tensor
        Written in place, and returned.
    mean, std : float
        Of the distribution.
    generator : Generator, optional
        The default one if not given.

    Raises
    ------
    UsageError
        If std is negative, or one of them not a number.

    References
    ----------
    Lecture topic L18.
    """
    check_normal("normal_", mean, std)
    _check_floating("normal_", tensor)
    return _write(tensor, generator_of("normal_", generator).normal(mean, std, tensor.shape, tensor.dtype))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Gaussian, with values outside [a, b] drawn again.

    Parameters
    ----------
    tensor : Tensor
        Written in place, and returned.
    mean, std : float
        Of the Gaussian before it is truncated.
    a, b : float
        The bounds: values, not multiples of std.
    generator : Generator, optional
        The default one if not given.

    Raises
    ------
    UsageError
        If a is not below b, std not positive, or one of the numbers NaN or infinite; a and b may be infinite.
    """
    mean, std = real_number("trunc_normal_", "mean", mean), real_number("trunc_normal_", "std", std, 0, above=True)
    a, b = (real_number("trunc_normal_", name, v, finite=False) for name, v in (("a", a), ("b", b)))
    if not a < b:
        raise UsageError(f"trunc_normal_: expected a < b; got a={a}, b={b}.")
    _check_floating("trunc_normal_", tensor)
    source = generator_of("trunc_normal_", generator)
    low, high = (a - mean) / std, (b - mean) / std
    values = np.concatenate([np.zeros(0), *_truncated(source, tensor.numel(), low, high)])
    values = np.clip((mean + std * values).astype(tensor.dtype), a, b)
    return _write(tensor, values.reshape(tensor.shape).astype(tensor.dtype))


def _truncated(source: Generator, count: int, low: float, high: float) -> list[np.ndarray]:
    """``count`` standard Gaussian numbers within [low, high], drawing until enough are inside."""
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    nearest = min(max(0.0, low), high)  # where the density within the bounds is highest
    # A draw has 1e-16 of that density where z² = nearest² + 74; farther out nothing would be drawn.
    reach = math.sqrt(nearest**2 + 74)
    low, high = max(low, -reach), min(high, reach)
    made: list[np.ndarray] = []
    while count > 0:
        if inside > 0.25:
            z = source.normal(0.0, 1.0, (int(count / inside) + 8,), np.float64)
            z = z[(z >= low) & (z <= high)]
        else:  # nearly all Gaussian draws would fall outside; take uniform ones with the density as probability
            z = source.uniform(low, high, (4 * count + 8,), np.float64)
            z = z[source.uniform(0.0, 1.0, z.shape, np.float64) < np.exp((nearest**2 - z**2) / 2)]
        made.append(z[:count])
        count -= len(made[-1])
    return made


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One value everywhere; 0.1 for the bias of a ReLU layer keeps its units from starting dead.

    Parameters
    ----------
    tensor : Tensor
        Written in place, and returned.
    val : float

    Examples
    --------
    >>> import gpunn
    >>> constant_(gpunn.zeros(2), 0.5).tolist()
    [0.5, 0.5]

    References
    ----------
    Lecture topic L18.
    """
    if category(val) is None:
        raise UsageError(f"constant_: val: expected a number; got {val!r}.")
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros.

    Parameters
    ----------
    tensor : Tensor
        Written in place, and returned.
    """
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones.

    Parameters
    ----------
    tensor : Tensor
        Written in place, and returned.
    """
    return constant_(tensor, 1.0)


# -- scaled by the number of inputs and outputs ---------------------------------------------------


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
    tensor : Tensor, (out, in, ...)
        Written in place, and returned.
    a : float
        Negative slope of the leaky ReLU that follows; 0 is ReLU.
    mode : str
        ``"fan_in"`` keeps the size of the forward signal, ``"fan_out"`` that of the gradient.
    nonlinearity : str
        What follows; determines the gain (:func:`calculate_gain`).
    generator : Generator, optional
        The default one if not given.

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
    """Gaussian with standard deviation gain / sqrt(fan).

    Parameters
    ----------
    tensor, a, mode, nonlinearity, generator
        As in :func:`kaiming_uniform_`.

    References
    ----------
    He, Zhang, Ren, Sun 2015, arXiv:1502.01852; lecture topic L18.
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(_fan(tensor, mode), 1))
    return normal_(tensor, 0.0, std, generator)


def _xavier_std(op: str, tensor: Tensor, gain: float) -> float:
    gain = real_number(op, "gain", gain, 0)
    return gain * math.sqrt(2 / max(sum(_calculate_fan_in_and_fan_out(tensor)), 1))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain² · 2 / (fan in + fan out).

    Parameters
    ----------
    tensor : Tensor, (out, in, ...)
        Written in place, and returned.
    gain : float
        For what follows; see :func:`calculate_gain`.
    generator : Generator, optional
        The default one if not given.

    References
    ----------
    Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks"; lecture topic L18.
    """
    bound = math.sqrt(3) * _xavier_std("xavier_uniform_", tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Gaussian with variance gain² · 2 / (fan in + fan out).

    Parameters
    ----------
    tensor, gain, generator
        As in :func:`xavier_uniform_`.

    References
    ----------
    Glorot, Bengio 2010; lecture topic L18.
    """
    return normal_(tensor, 0.0, _xavier_std("xavier_normal_", tensor, gain), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Rows, or columns if there are fewer of them, orthogonal and of length ``gain``; uniform among all such.

    Parameters
    ----------
    tensor : Tensor, (out, ...)
        Viewed as a matrix of ``out`` rows. Written in place, and returned.
    gain : float
        For what follows; see :func:`calculate_gain`.
    generator : Generator, optional
        The default one if not given.

    Raises
    ------
    ShapeError
        If the tensor has fewer than two axes.

    References
    ----------
    Saxe, McClelland, Ganguli 2013, arXiv:1312.6120.
    """
    _check_floating("orthogonal_", tensor)
    gain = real_number("orthogonal_", "gain", gain)
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: expected a weight of two axes or more; got shape {tensor.shape}.")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    longer, shorter = max(rows, columns), min(rows, columns)
    drawn = generator_of("orthogonal_", generator).normal(0.0, 1.0, (longer, shorter), np.float64)
    with single_threaded_blas:  # the same bits for any number of threads
        q, r = np.linalg.qr(drawn)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # without it q would follow the factorisation's choice of signs
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """PyTorch's default for linear and convolution layers: both uniform on ±1 / sqrt(fan in)."""
    # kaiming_uniform with a = sqrt(5): gain² = 2 / (1 + 5) = 1/3, so the bound is 1 / sqrt(fan in).
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(max(_calculate_fan_in_and_fan_out(weight)[0], 1))
        uniform_(bias, -bound, bound)


constant, dirac, eye, normal, orthogonal = map(older, (constant_, dirac_, eye_, normal_, orthogonal_))
sparse, uniform, kaiming_normal = map(older, (sparse_, uniform_, kaiming_normal_))
kaiming_uniform, xavier_normal, xavier_uniform = map(older, (kaiming_uniform_, xavier_normal_, xavier_uniform_))

explains_all(globals())


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
