"""Axes in another order: permute, transpose, movedim (``kernels/transpose.cu``, ``strided_copy.cu``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._layout import address_of
from gpunn._shared.axes import axes_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn._views import Step, Strides, view_of
from gpunn.cpu import memory
from gpunn.errors import ShapeError, UsageError, here
from gpunn.gpu import stored
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.gpu.strided_copy import copied
from gpunn.ops.copy_arrays import copy_arrays
from gpunn.primitive import primitive

_MEMORY = (0, 2, 3, 1)  # the logical axis behind each axis of an image's memory


_USER = (0, 3, 1, 2)  # and the other way round


SOURCE = KernelSource("transpose.cu", **stored.DECLARED, only=stored.is_declared)

_MOST_ROWS = 65535 * 32  # CUDA's limit on grid.y


# -- primitives -----------------------------------------------------------------------------------


@primitive(returns=("y",))
def batched_transpose(xp: Any, x: Any) -> Any:
    """y[n, c, r] = x[n, r, c], contiguous."""
    return xp.ascontiguousarray(x.transpose(0, 2, 1))


@batched_transpose.numpy
def _(x: np.ndarray) -> np.ndarray:
    return _copy_of(x.transpose(0, 2, 1))


def _copy_of(x: np.ndarray) -> np.ndarray:
    y = memory.empty(x.shape, x.dtype)
    np.copyto(y, x)
    return y


@batched_transpose.kernel(stored=("x",))
def _(device: Device, x: Any) -> Any:
    n, rows, cols = x.shape
    if rows > _MOST_ROWS:
        return copied(device, x, (n, cols, rows), (x.strides[0], x.strides[2], x.strides[1]))
    y = device.empty((n, cols, rows), x.dtype)
    tiles = (ceil_div(cols, 32), ceil_div(rows, 32))
    for start in range(0, n, 65535):  # CUDA's limit on grid.z
        part = slice(start, min(n, start + 65535))
        grid = (*tiles, part.stop - part.start)
        args = (stored.bits(y[part]), stored.bits(x[part]), rows, cols)
        SOURCE.launch(device, "transpose", grid, (32, 8, 1), args, **stored.macros_of(x.dtype, "transpose"))
    return y


@primitive(returns=("y",), moves=True)
def permute_axes(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """y with the axes of x in the order ``axes``, as a copy."""
    return x.transpose(axes).copy(order="C")


@permute_axes.numpy
def _(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return _copy_of(x.transpose(axes))


@permute_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...]) -> Any:
    return copied(device, x, [x.shape[a] for a in axes], [x.strides[a] for a in axes])


# -- memory order ---------------------------------------------------------------------------------


def reordered(device: Device, x: Any, axes: tuple[int, ...]) -> Any:
    """A contiguous array with the axes of x in the order ``axes``: x's own memory where that is the same order."""
    shape = tuple(x.shape[a] for a in axes)
    # Axes of length 1 may go anywhere; neighbours that stay neighbours count as one axis.
    runs: list[list[int]] = []
    for a in axes:
        if x.shape[a] == 1:
            continue
        if runs and all(x.shape[b] == 1 for b in range(runs[-1][-1] + 1, a)) and a > runs[-1][-1]:
            runs[-1].append(a)
        else:
            runs.append([a])
    order = sorted(range(len(runs)), key=lambda i: runs[i][0])
    folded = [math.prod(x.shape[a] for a in runs[i]) for i in order]
    turn = [order.index(i) for i in range(len(runs))]
    if turn == sorted(turn):
        return x.reshape(shape)
    # Floating matrices have a kernel.
    if x.dtype.kind in FLOATING and turn in ([1, 0], [0, 2, 1]):
        return batched_transpose(device, x.reshape([1, *folded][-3:])).reshape(shape)
    return permute_axes(device, x.reshape(folded), tuple(turn)).reshape(shape)


def to_logical_order(device: Device, x: Any) -> Any:
    """A contiguous array in logical order, (N, C, H, W), from a physical 4-d one; else unchanged."""
    return reordered(device, x, (0, 3, 1, 2)) if x.ndim == 4 else x


def to_physical_order(device: Device, x: Any) -> Any:
    """The inverse of :func:`to_logical_order`: from contiguous (N, C, H, W) to (N, H, W, C)."""
    return reordered(device, x, (0, 2, 3, 1)) if x.ndim == 4 else x


def in_shape(device: Device, array: Any, shape: tuple[int, ...]) -> Any:
    """A physical array reshaped in logical order; the result is physical, and a view where possible."""
    return to_physical_order(device, to_logical_order(device, array).reshape(shape))


@dataclass
class Turned(Step):
    """The step to the axes in another order: for each of the result's, which one it is."""

    op: str
    order: tuple[int, ...]

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        """See Step."""
        return _turned(device, array, _in_memory(self.order))

    def back(self, device: Device, dy: Any, shape: tuple[int, ...]) -> Any:
        """See Step."""
        return self._turned_back(device, dy)

    def put(self, device: Device, target: Any, value: Any) -> None:
        """See Step."""
        copy_arrays(device, [target], [self._turned_back(device, value)])

    def among_rows(self, ndim: int, from_rows: bool) -> tuple[Step, bool] | None:
        """See Step."""
        return (Turned(self.op, (0, *(a + 1 for a in self.order))), True) if from_rows else None

    def strided(self, array: Any) -> Any:
        """See Step."""
        return array.transpose(self.order)

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        """See Step."""
        return tuple(shape[a] for a in self.order), tuple(strides[a] for a in self.order)

    def _turned_back(self, device: Device, array: Any) -> Any:
        axes = _in_memory(self.order)
        return reordered(device, array, tuple(axes.index(a) for a in range(len(axes))))


def _in_memory(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order of physical axes that makes ``order`` of the logical ones."""
    # Turn to the user's order, permute, turn back.
    return tuple(_USER[order[a]] for a in _MEMORY) if len(order) == 4 else order


def _turned(device: Device, array: Any, axes: tuple[int, ...]) -> tuple[Any, bool]:
    y = reordered(device, array, axes)
    return y, address_of(y) == address_of(array)


# -- public ops -----------------------------------------------------------------------------------


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The axes of x in another order: a view.

    Parameters
    ----------
    x : Tensor
    dims : sequence of int
        For each axis of the result, which axis of x it is.

    Raises
    ------
    UsageError
        If ``dims`` does not name each axis once.

    Examples
    --------
    >>> import gpunn
    >>> permute(gpunn.zeros(2, 3, 5), (2, 0, 1)).shape
    (5, 2, 3)
    """
    return _permute("permute", x, dims)


def _permute(op: str, x: Tensor, dims: Sequence[int]) -> Tensor:
    given = [whole_number("permute", "dims", d) for d in dims]
    order = tuple([d + x.ndim if d < 0 else d for d in given])
    if sorted(order) != list(range(x.ndim)):
        raise UsageError(f"{here(op)}: expected each axis of shape {x.shape} once; got {tuple(dims)}.")
    return view_of(x, Turned(op, order))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Exchange two axes.

    Parameters
    ----------
    x : Tensor
    dim0, dim1 : int
        The axes.

    Raises
    ------
    UsageError
        If x does not have them.
    """
    (first,), (second,) = ((axes_of("transpose", x, d) or (0,)) for d in (dim0, dim1))
    order = list(range(x.ndim))
    if x.ndim:
        order[first], order[second] = second, first
    return _permute("transpose", x, order)


def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars are unchanged.

    Parameters
    ----------
    x : Tensor
        At most 2-d.

    Raises
    ------
    ShapeError
        If it has more axes.
    """
    if x.ndim > 2:
        raise ShapeError(f"{here('t')}: expected at most a matrix; got shape {x.shape}. Use .mT or transpose().")
    return _permute("t", x, tuple(range(x.ndim))[::-1])


def matrix_transpose(x: Tensor) -> Tensor:
    """Exchange the last two axes (``x.mT``).

    Raises
    ------
    ShapeError
        If x has fewer.
    """
    if x.ndim < 2:
        raise ShapeError(f"{here('mT')}: expected a matrix or a batch of them; got shape {x.shape}.")
    return transpose(x, -2, -1)


def movedim(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other positions; the others keep their order.

    Parameters
    ----------
    x : Tensor
    source, destination : int or sequence of int
        Which axes, and where each will be.

    Raises
    ------
    UsageError
        If they do not name equally many axes of x.
    """
    pair: list[Any] = [axes_of("movedim", x, d, empty_means_all=False) for d in (source, destination)]
    if len(pair[0]) != len(pair[1]):
        raise UsageError(f"{here('movedim')}: expected equally many axes; got {source} and {destination}.")
    placed = dict(zip(pair[1], pair[0], strict=True))
    others = iter(a for a in range(x.ndim) if a not in pair[0])
    return _permute("movedim", x, [placed[a] if a in placed else next(others) for a in range(x.ndim)])
