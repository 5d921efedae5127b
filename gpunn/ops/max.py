"""Largest and smallest along an axis with their indices, or over several axes (``kernels/extremum.cu``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical, physical_axes
from gpunn._shared.axes import axes_of, axis_of
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu.extremum import launch_extremum, launch_place, launch_share
from gpunn.gpu.reduce import reduce_axes
from gpunn.ops.cast import cast
from gpunn.ops.maximum import maximum, minimum
from gpunn.ops.sum import countable, left_of, with_axes
from gpunn.primitive import primitive
from gpunn.tape import record


class Extremum(NamedTuple):
    """What ``max(dim)`` and ``min(dim)`` return: the winning elements and their int64 indices along the axis."""

    values: Tensor
    indices: Tensor


# -- along one axis -------------------------------------------------------------------------------


@primitive(returns=("values", "indices"))
def extremum_axis(xp: Any, x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    """The first largest (smallest) element along ``axis`` of a logical array and its index; NaN wins. Axis kept."""
    best = (x.max if largest else x.min)(axis=axis, keepdims=True)
    # Of several NaN CuPy's argmax takes any; of several True the first.
    return _taken(xp, x, ((x == best) | (x != x)).argmax(axis=axis), axis)


@extremum_axis.numpy
def _(x: np.ndarray, axis: int, largest: bool) -> tuple[Any, Any]:
    return _taken(np, x, (x.argmax if largest else x.argmin)(axis=axis), axis)


def _taken(xp: Any, x: Any, index: Any, axis: int) -> tuple[Any, Any]:
    """The elements of x at ``index`` along ``axis``, and the indices, with the axis kept."""
    kept = xp.expand_dims(xp.asarray(index).astype(np.int64), axis)
    return physical(xp.take_along_axis(x, kept, axis)), physical(kept)


@extremum_axis.kernel
def _(device: Device, x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    source = countable(device, physical(x))
    values, places = launch_extremum(device, source, physical_axes((axis,), x.ndim)[0], largest)
    return values if values.dtype == x.dtype else cast(device, values, x.dtype), places


@primitive(returns=("dx",))
def place_along(xp: Any, dy: Any, index: Any, axis: int, length: int) -> Any:
    """dx = dy at ``index`` along ``axis``, else 0; dy and index are logical with length 1 there, dx is physical."""
    places = xp.arange(length).reshape(tuple(-1 if a == axis else 1 for a in range(dy.ndim)))
    return physical(xp.where(places == index, dy, dy.dtype.type(0)))


@place_along.kernel
def _(device: Device, dy: Any, index: Any, axis: int, length: int) -> Any:
    return launch_place(device, physical(dy), physical(index), physical_axes((axis,), dy.ndim)[0], length)


def _check_not_empty(op: str, x: Tensor, axes: tuple[int, ...]) -> None:
    if any(x.shape[a] == 0 for a in axes):
        raise ShapeError(f"{here(op)}: expected an axis with elements; got shape {x.shape}, axes {axes}.")


def _along(op: str, x: Tensor, dim: int, keepdim: bool) -> Extremum:
    axis = axes_of(op, x, dim, keepdim=keepdim)
    _check_not_empty(op, x, axis)
    if not x.ndim:
        values, indices = _along(op, x.reshape(1), 0, True)
        return Extremum(values.reshape(()), indices.reshape(()))
    device, length, at = x.device, x.shape[axis[0]], axis[0]
    values, index = extremum_axis(device, x.array, at, op == "max")
    places = logical(index)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (place_along(device, with_axes(device, dy, places.shape), places, at, length),)

    indices = Tensor._of_physical(left_of(device, index, axis, keepdim), device)
    return Extremum(
        record(op, left_of(device, values, axis, keepdim), device, (x,), backward, saves=(indices,)), indices
    )


# -- over several axes ----------------------------------------------------------------------------


@primitive(returns=("y",))
def extremum_over(xp: Any, x: Any, axes: tuple[int, ...], largest: bool) -> Any:
    """The largest (smallest) element of a logical array over ``axes``, which are kept; physical."""
    with quiet():
        return physical(xp.asarray((x.max if largest else x.min)(axis=axes, keepdims=True)))


@extremum_over.kernel
def _(device: Device, x: Any, axes: tuple[int, ...], largest: bool) -> Any:
    source, operation = countable(device, physical(x)), "max" if largest else "min"
    y = reduce_axes(device, source, physical_axes(axes, x.ndim), operation)
    return y if y.dtype == x.dtype else cast(device, y, x.dtype)


@primitive(returns=("dx",))
def share_backward(xp: Any, dy: Any, x: Any, y: Any, axes: tuple[int, ...], finds_nan: bool) -> Any:
    """dx: dy in equal parts for the elements equal to y. Arguments are logical, dy and y with axes kept; dx physical.

    ``finds_nan``: whether NaN equals NaN; otherwise all gradients of a NaN are NaN.
    """
    won = (x == y) | (xp.isnan(x) & xp.isnan(y)) if finds_nan else x == y
    count = won.sum(axis=axes, keepdims=True).astype(dy.dtype)
    with quiet():
        part = dy / count
        return physical(xp.where(won, part, dy.dtype.type(0)) if finds_nan else won * part)


@share_backward.kernel
def _(device: Device, dy: Any, x: Any, y: Any, axes: tuple[int, ...], finds_nan: bool) -> Any:
    dy, x, y, axes = physical(dy), physical(x), physical(y), physical_axes(axes, x.ndim)
    return launch_share(device, dy, x, y, axes, finds_nan)


def _over(op: str, x: Tensor, dim: int | Sequence[int] | None, keepdim: bool) -> Tensor:
    axes = axes_of(op, x, dim, keepdim=keepdim)
    _check_not_empty(op, x, axes)
    device, source = x.device, x.array
    kept = extremum_over(device, source, axes, op in ("max", "amax"))
    whole = logical(kept)
    y = left_of(device, kept, axes, keepdim)
    finds_nan = op in ("max", "min")

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (share_backward(device, with_axes(device, dy, whole.shape), source, whole, axes, finds_nan),)

    return record(op, y, device, (x,), backward, saves=(x,), keeps=True)


def amax(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The largest element over ``dim``; ties share the gradient.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.

    Raises
    ------
    ShapeError
        If an axis is empty.
    """
    return _over("amax", x, dim, keepdim)


def amin(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The smallest element over ``dim``; ties share the gradient.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.

    Raises
    ------
    ShapeError
        If an axis is empty.
    """
    return _over("amin", x, dim, keepdim)


def _extremum(op: str, x: Tensor, dim: Any, keepdim: bool) -> Any:
    if isinstance(dim, Tensor):
        return maximum(x, dim) if op == "max" else minimum(x, dim)
    if dim is None:
        if keepdim:
            raise UsageError(f"{here(op)}: keepdim goes with dim; a{op}(keepdim=True) is over all axes.")
        return _over(op, x, None, False)
    if as_int(dim) is None:
        raise UsageError(f"{here(op)}: dim: expected one axis, a whole number; got {dim!r}. a{op} takes several.")
    return _along(op, x, dim, keepdim)


def max_(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element: of all, along an axis with its index, or of two tensors.

    Parameters
    ----------
    x : Tensor
    dim : int or Tensor, optional
        An axis; another tensor, for :func:`maximum`; None for one of all elements, where ties share the gradient.
    keepdim : bool
        Keep the axis with length 1.

    Returns
    -------
    Tensor, or (values, indices)
        With an axis, a named tuple; the gradient goes to the first winner. NaN wins.

    Raises
    ------
    ShapeError
        If there is no element.

    Examples
    --------
    >>> import gpunn
    >>> values, indices = gpunn.max(gpunn.tensor([[1.0, 5.0], [7.0, 2.0]]), 1)
    >>> values.tolist(), indices.tolist()
    ([5.0, 7.0], [1, 0])
    """
    return _extremum("max", x, dim, keepdim)


def min_(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element: of all, along an axis with its index, or of two tensors.

    Parameters
    ----------
    x : Tensor
    dim : int or Tensor, optional
        An axis; another tensor, for :func:`minimum`; None for one of all elements, where ties share the gradient.
    keepdim : bool
        Keep the axis with length 1.

    Returns
    -------
    Tensor, or (values, indices)
        With an axis, a named tuple; the gradient goes to the first winner. NaN wins.

    Raises
    ------
    ShapeError
        If there is no element.
    """
    return _extremum("min", x, dim, keepdim)


def _index_of(op: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if x.dtype.kind == "b":
        raise DTypeError(f"{here(op)}: expected numbers; got {x.dtype}. Convert with .int().")
    if dim is None:
        flat = x.detach().reshape(-1)
        _check_not_empty(op, flat, (0,))
        index = extremum_axis(x.device, flat.array, 0, op == "argmax")[1]
        return Tensor._of_physical(index.reshape((1,) * x.ndim if keepdim else ()), x.device)
    return _along(op[3:], x.detach(), axis_of(op, x, dim) if x.ndim else dim, keepdim).indices


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first largest element, int64; no gradient.

    Parameters
    ----------
    x : Tensor
    dim : int, optional
        Axis; None gives the index in the flattened tensor.
    keepdim : bool
        Keep the axis with length 1.

    Raises
    ------
    ShapeError
        If the axis is empty.
    """
    return _index_of("argmax", x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first smallest element, int64; no gradient.

    Parameters
    ----------
    x : Tensor
    dim : int, optional
        Axis; None gives the index in the flattened tensor.
    keepdim : bool
        Keep the axis with length 1.

    Raises
    ------
    ShapeError
        If the axis is empty.
    """
    return _index_of("argmin", x, dim, keepdim)
