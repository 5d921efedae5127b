"""Joining tensors: along an axis, or along a new one (``kernels/strided_copy.cu``)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from gpunn._device import Device, device_of
from gpunn._layout import physical_axes
from gpunn._promotion import promoted
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.cpu import memory
from gpunn.errors import ArgumentError, DTypeError, ShapeError, UsageError, here
from gpunn.gpu.strided_copy import cut_parts, join_parts
from gpunn.ops.reshape import unsqueeze
from gpunn.primitive import primitive
from gpunn.tape import record


@primitive(returns=("y",), moves=True)
def join(xp: Any, arrays: list[Any], axis: int) -> Any:
    """The arrays joined along ``axis``."""
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    return xp.concatenate(arrays, axis=axis, out=xp.empty(shape, arrays[0].dtype))


@join.numpy
def _(arrays: list[np.ndarray], axis: int) -> np.ndarray:
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    y: np.ndarray = np.concatenate(arrays, axis=axis, out=memory.empty(tuple(shape), arrays[0].dtype))
    return y


@join.kernel
def _(device: Device, arrays: list[Any], axis: int) -> Any:
    lengths = [a.shape[axis] for a in arrays]
    shape = (*arrays[0].shape[:axis], sum(lengths), *arrays[0].shape[axis + 1 :])
    y = device.empty(shape, arrays[0].dtype)
    join_parts(device, y, arrays, lengths, axis)
    return y


@primitive(returns=(), mutates=("parts",), moves=True)
def cut(xp: Any, parts: list[Any], lengths: list[int], whole: Any, axis: int) -> None:
    """Split ``whole`` along ``axis`` into ``lengths`` and write each piece to its part, unless that is None."""
    for part, edge in zip(parts, pairwise(accumulate(lengths, initial=0)), strict=True):
        if part is not None:
            key = *(slice(None),) * axis, slice(*edge)
            part[...] = whole[key]


@cut.kernel
def _(device: Device, parts: list[Any], lengths: list[int], whole: Any, axis: int) -> None:
    cut_parts(device, whole, parts, lengths, axis)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        At least one, on one device, of equal lengths except along ``dim``. Those of shape (0,) are left out, as in
        PyTorch. They are converted to the dtype that holds all of theirs.
    dim : int
        The axis.

    Returns
    -------
    Tensor
        Its gradient is split back into the parts.

    Raises
    ------
    UsageError
        If there are none, or the axis does not exist.
    ShapeError, DTypeError, DeviceError
        If they are incompatible.

    Examples
    --------
    >>> import gpunn
    >>> cat([gpunn.ones(2, 1), gpunn.zeros(2, 2)], 1).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]

    References
    ----------
    Lecture topic L6.
    """
    tensors = _check("cat", tensors)
    joined = [t for t in tensors if t.shape != (0,)] or tensors
    first = joined[0]
    if not first.ndim:
        raise ShapeError(f"{here('cat')}: expected tensors with axes; got a number. Use stack().")
    axis = axis_of("cat", first, dim)
    for i, other in enumerate(tensors):
        if other.shape == (0,) and len(joined) < len(tensors):
            continue
        if other.ndim != first.ndim or any(
            n != m for a, (n, m) in enumerate(zip(other.shape, first.shape, strict=True)) if a != axis
        ):
            raise ShapeError(
                f"{here('cat')}: expected equal lengths along all axes but {axis}; got shapes {first.shape} and "
                f"{other.shape} (tensor {i})."
            )
    (stored,) = physical_axes((axis,), first.ndim)
    device = first.device
    y = join(device, [t._physical for t in joined], stored)
    left_out = [t.shape == (0,) for t in tensors]
    lengths = [0 if out else t.shape[axis] for out, t in zip(left_out, tensors, strict=True)]

    def backward(dy: Any, needs: tuple[bool, ...]) -> list[Any]:
        def room(length: int) -> Any:
            return device.empty((*dy.shape[:stored], length, *dy.shape[stored + 1 :]), dy.dtype)

        wanted = [need and not out for out, need in zip(left_out, needs, strict=True)]
        parts = [room(n) if want else None for n, want in zip(lengths, wanted, strict=True)]
        cut(device, parts, lengths, dy, stored)
        return [
            device.empty((0,), dy.dtype) if need and out else part
            for part, out, need in zip(parts, left_out, needs, strict=True)
        ]

    return record("cat", y, device, tensors, backward)


concat = concatenate = cat  # PyTorch has all three names


def _check(op: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    if isinstance(tensors, Tensor):
        raise ArgumentError(
            f"{here(op)}: tensors: expected a list of Tensors; got one. Put them into a list: {op}([x, y])."
        )
    found = list(tensors)
    if not found:
        raise UsageError(f"{here(op)}: expected at least one tensor; got none.")
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            raise DTypeError(f"{here(op)}: expected Tensors; got {type(t).__name__} (number {i}).")
    device_of(op, found)
    dtype = found[0].dtype
    for t in found:
        # Without axes or with: those of a stack have axes when they are joined.
        try:
            dtype = promoted(dtype, t.dtype)
        except DTypeError as error:
            raise DTypeError(f"{here(op)}: {error}") from None
    return [t if t.dtype == dtype else t.to(dtype) for t in found]


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        At least one, of one shape, on one device. They are converted to the dtype that holds all of theirs.
    dim : int
        Where the new axis will be.

    Raises
    ------
    UsageError
        If there are none, or ``dim`` is not an axis of the result.
    ShapeError, DTypeError, DeviceError
        If they are incompatible.

    Examples
    --------
    >>> import gpunn
    >>> stack([gpunn.tensor([1, 2]), gpunn.tensor([3, 4])], 1).tolist()
    [[1, 3], [2, 4]]
    """
    tensors = _check("stack", tensors)
    shape = tensors[0].shape
    for i, t in enumerate(tensors):
        if t.shape != shape:
            raise ShapeError(f"{here('stack')}: expected one shape; got {shape} and {t.shape} (tensor {i}).")
    return cat([unsqueeze(t, dim) for t in tensors], dim)
