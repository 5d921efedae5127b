"""Initial values that are patterns: identities, convolutions that change nothing, columns with zeros; and old names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._calls import explains
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError
from gpunn.random import Generator, generator_of
from gpunn.tape import no_grad


def _write(tensor: Tensor, values: np.ndarray) -> Tensor:
    with no_grad():
        return tensor.copy_(values.astype(tensor.dtype))


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix: a linear layer passes on as many of its inputs as it has outputs.

    Parameters
    ----------
    tensor : Tensor, (out, in)
        Written in place, and returned.

    Raises
    ------
    ShapeError
        If the tensor is no matrix.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: expected a matrix; got shape {tensor.shape}.")
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution that passes on as many of its input channels as it has output channels, within each group.

    Parameters
    ----------
    tensor : Tensor, (out, in / groups, ...) with one to three axes behind
        Written in place, and returned.
    groups : int
        Of the convolution.

    Raises
    ------
    ShapeError
        If it is no weight of a convolution, or its outputs cannot be divided into the groups.
    """
    groups = whole_number("dirac_", "groups", groups, 1)
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_: expected a weight of three to five axes; got shape {tensor.shape}.")
    if tensor.shape[0] % groups:
        raise ShapeError(f"dirac_: expected outputs that {groups} groups divide; got shape {tensor.shape}.")
    values = np.zeros(tensor.shape)
    outputs, middle = tensor.shape[0] // groups, tuple(length // 2 for length in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(outputs, tensor.shape[1])):
            place = (group * outputs + channel, channel, *middle)
            values[place] = 1
    return _write(tensor, values)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Gaussian, with a share of each column set to 0.

    Parameters
    ----------
    tensor : Tensor, (out, in)
        Written in place, and returned.
    sparsity : float
        Which share, rounded up to whole rows.
    std : float
        Standard deviation of the others.
    generator : Generator, optional
        The default one if not given.

    Raises
    ------
    ShapeError
        If the tensor is no matrix.
    UsageError
        If the share is not from 0 to 1, or std is negative.

    References
    ----------
    Martens 2010, "Deep learning via Hessian-free optimization".
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: expected a matrix; got shape {tensor.shape}.")
    share, std = real_number("sparse_", "sparsity", sparsity, 0), real_number("sparse_", "std", std, 0)
    if share > 1:
        raise UsageError(f"sparse_: sparsity: expected a share from 0 to 1; got {sparsity!r}.")
    source = generator_of("sparse_", generator)
    rows, columns = tensor.shape
    values = source.normal(0.0, std, (rows, columns), np.float64)
    for column in range(columns):
        values[source.permutation(rows)[: math.ceil(share * rows)], column] = 0
    return _write(tensor, values)


def older(function: Any) -> Callable[..., Any]:
    """The function under its name of before PyTorch 0.4, without the underscore; it says that it is old."""
    old, explained = function.__name__.rstrip("_"), explains(function)

    def named_as_before(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(f"nn.init.{old} is the old name of nn.init.{old}_.", FutureWarning, stacklevel=2)
        return explained(*args, **kwargs)

    named_as_before.__name__ = named_as_before.__qualname__ = old
    named_as_before.__doc__ = f"Old name of :func:`{old}_`, to which ``*args`` and ``**kwargs`` are given."
    return named_as_before
