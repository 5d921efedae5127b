"""Splitting a tensor along an axis: split, chunk, unbind (``kernels/strided_copy.cu``)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from gpunn import tape
from gpunn._device import Device
from gpunn._layout import address_of, logical, physical_axes, physical_shape
from gpunn._shared.axes import axes_of
from gpunn._shared.numbers import as_int, whole_number
from gpunn._tensor import Tensor
from gpunn._views import attach
from gpunn.errors import ShapeError, UsageError, here
from gpunn.gpu.strided_copy import Box, copy_box, fill
from gpunn.ops.cat import cut
from gpunn.ops.getitem import Sliced
from gpunn.ops.take_slice import Key
from gpunn.primitive import primitive


@primitive(returns=("dx",), moves=True)
def put_parts(xp: Any, parts: list[Any], shape: tuple[int, ...], keys: list[Key], dtype: Any) -> Any:
    """dx[key] = part for each of them, 0 where there is none; logical in, physical out."""
    dx = xp.empty(physical_shape(shape), dtype)
    view = logical(dx)
    for key, part in zip(keys, parts, strict=True):
        view[key] = 0 if part is None else part
    return dx


@put_parts.kernel
def _(device: Device, parts: list[Any], shape: tuple[int, ...], keys: list[Key], dtype: Any) -> Any:
    dx = device.empty(physical_shape(shape), dtype)
    if any(part is None for part in parts):
        fill(device, dx)
    view, start = logical(dx), address_of(dx)
    for key, part in zip(keys, parts, strict=True):
        if part is not None:
            whole = *key, Ellipsis  # without Ellipsis NumPy turns one element into a scalar
            place = view[whole]
            to = address_of(place) - start if place.size else 0
            copy_box(device, dx, part, Box(list(place.shape), list(place.strides), list(part.strides), to))
    return dx


def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Split x along an axis into views of its parts.

    Parameters
    ----------
    x : Tensor
    split_size_or_sections : int or sequence of int
        The length of each part (the last may be shorter), or a list of all lengths.
    dim : int
        The axis.

    Raises
    ------
    ShapeError
        If the lengths do not add up to the axis.
    UsageError
        If the axis does not exist.

    Examples
    --------
    >>> import gpunn
    >>> [part.tolist() for part in split(gpunn.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    axis, length = _axis("split", x, dim)
    size = as_int(split_size_or_sections)
    if size is not None:
        if size < 0 or (size == 0 and length):
            raise ShapeError(f"{here('split')}: expected parts of at least 1; got {size}.")
        sections = [min(size, length - start) for start in range(0, length, max(size, 1))] or [0]
    else:
        sections = [int(n) for n in split_size_or_sections]  # type: ignore[union-attr]
        if any(n < 0 for n in sections) or sum(sections) != length:
            raise ShapeError(
                f"{here('split')}: expected lengths that add up to {length}, axis {axis} of {x.shape}; got {sections}."
            )
    return _apart("split", x, axis, sections)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Split x along an axis into at most ``chunks`` parts of one length; the last may be shorter.

    Parameters
    ----------
    x : Tensor
    chunks : int
        At least 1.
    dim : int
        The axis.

    Raises
    ------
    UsageError
        If ``chunks`` is less than 1, or the axis does not exist.
    """
    axis, length = _axis("chunk", x, dim)
    chunks = whole_number("chunk", "chunks", chunks, 1)
    size = -(-length // chunks)
    sections = [min(size, length - start) for start in range(0, length, max(size, 1))] or [0] * chunks
    return _apart("chunk", x, axis, sections)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices along an axis, without that axis.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.

    Raises
    ------
    UsageError
        If the axis does not exist.
    """
    axis, length = _axis("unbind", x, dim)
    steps = [Sliced("unbind", (*(slice(None),) * axis, i)) for i in range(length)]
    return _collected("unbind", x, [step.get(x.device, x._physical) for step in steps], steps)


def _axis(op: str, x: Tensor, dim: int) -> tuple[int, int]:
    axes = axes_of(op, x, dim)
    if not axes:
        raise UsageError(f"{here(op)}: expected a tensor with axes; got a number.")
    return axes[0], x.shape[axes[0]]


def _apart(op: str, x: Tensor, axis: int, sections: list[int]) -> tuple[Tensor, ...]:
    edges = pairwise(accumulate(sections, initial=0))
    device, whole = x.device, x._physical
    steps = [Sliced(op, (*(slice(None),) * axis, slice(*edge))) for edge in edges]
    (stored,) = physical_axes((axis,), x.ndim)
    if all(n == 1 for n in whole.shape[:stored]):  # the parts lie one behind the other
        return _collected(op, x, [step.get(device, whole) for step in steps], steps)
    parts = [device.empty((*whole.shape[:stored], n, *whole.shape[stored + 1 :]), x.dtype) for n in sections]
    cut(device, parts, sections, whole, stored)
    return _collected(op, x, [(part, False) for part in parts], steps)


def _collected(op: str, x: Tensor, parts: list[tuple[Any, bool]], steps: list[Sliced]) -> tuple[Tensor, ...]:
    """Record ``parts``, to which ``steps`` lead and which cover x once. One node collects all gradients."""
    device, shape, dtype = x.device, x.shape, x.dtype
    made = tuple(Tensor._of_physical(part, device) for part, _ in parts)
    if tape.is_grad_enabled() and x.requires_grad:
        keys = [step.key for step in steps]

        def backward(parts: list[Any], needs: tuple[bool, ...]) -> tuple[Any, ...]:
            return (put_parts(device, [p if p is None else logical(p) for p in parts], shape, keys, dtype),)

        node = tape.Node(op, tape.parents_of((x,)), backward, False, ())
        for i, part in enumerate(made):
            part.requires_grad = True
            part._node = tape.Node(op, (node,), _unchanged, True, (), slot=(i, len(keys)), extent=part._physical.shape)
    for part, step, (_, shares) in zip(made, steps, parts, strict=True):
        attach(part, x, step, shares)
    return made


def _unchanged(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    return (dy,)
