"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, ShapeError
from gpunn.ops.cat import cat
from gpunn.tape import no_grad


def _members(op: str, parameters: Iterable[Tensor]) -> list[Tensor]:
    members = list(parameters)
    for p in members:
        if not isinstance(p, Tensor):
            raise ArgumentError(f"{op}: expected parameters, which are Tensors; got {type(p).__name__} among them.")
    if not members:
        raise ArgumentError(f"{op}: expected at least one parameter; got none.")
    return members


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters one behind the other, on the tape.

    Parameters
    ----------
    parameters : iterable of Tensor
        Of one dtype, on one device.

    Returns
    -------
    Tensor, (n,)

    Examples
    --------
    >>> from gpunn import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return cat([p.reshape(-1) for p in _members("parameters_to_vector", parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write a vector's elements into parameters, in the order of :func:`parameters_to_vector`.

    Parameters
    ----------
    vec : Tensor, (n,)
    parameters : iterable of Tensor
        Written in place, with copies.

    Raises
    ------
    ShapeError
        If the vector has another number of elements than the parameters.
    """
    members = _members("vector_to_parameters", parameters)
    if not isinstance(vec, Tensor):
        raise ArgumentError(f"vector_to_parameters: vec: expected a Tensor; got {type(vec).__name__}.")
    wanted = sum(p.numel() for p in members)
    if vec.ndim != 1 or vec.numel() != wanted:
        raise ShapeError(f"vector_to_parameters: vec: expected shape ({wanted},); got {vec.shape}.")
    with no_grad():
        at = 0
        for p in members:
            p.copy_(vec[at : at + p.numel()].reshape(p.shape))
            at += p.numel()
