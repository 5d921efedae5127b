"""The same elements in another shape: reshape and its relatives.

A reshape works on elements in logical order, so that weights agree with PyTorch's. For an image, which is
stored channels last, that copies memory (see ``_views``), and its gradient is copied back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import address_of, logical
from gpunn._rows import is_image, rows_of
from gpunn._shared.axes import axes_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn._views import Step, Strides, is_contiguous, strides_for, strides_of, view_of
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.accumulate import copy
from gpunn.ops.copy_arrays import copy_arrays
from gpunn.ops.permute import in_shape
from gpunn.tape import record

# -- public ops -----------------------------------------------------------------------------------


def reshape(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The elements of x in logical order in another shape.

    A view of x, or a copy where x is a strided view, such as a transpose, for which PyTorch's ``reshape`` copies too.

    Parameters
    ----------
    x : Tensor
    shape : int or sequence of int
        With x's number of elements; one length may be -1.

    Raises
    ------
    ShapeError
        If the numbers of elements differ.
    """
    return _reshape("reshape", x, shape)


def _reshape(op: str, x: Tensor, shape: int | Sequence[int], *, strict: bool = False) -> Tensor:
    """A view of x in another shape; a copy where PyTorch's strides make one, or an error if that is not ``strict``."""
    lengths = (shape,) if isinstance(shape, int | np.integer) else shape
    step = Shaped(op, _resolve(op, x, tuple([whole_number(op, "shape", n) for n in lengths])))
    if x._view is None or step.strides(x.shape, strides_of(x))[1] is not None:
        return view_of(x, step)
    if strict:
        raise ShapeError(
            f"{here(op)}: a tensor of shape {x.shape} that is a strided view of another cannot be seen in shape "
            f"{step.shape} without copying it; use reshape(), or contiguous() first."
        )
    return _apart(x, step)


def _apart(x: Tensor, step: Step) -> Tensor:
    """x's elements as ``step`` has them, as a tensor that is no view of x, whether or not its array is x's."""
    device, rows = x.device, rows_of(x)
    knows = device.name == "cpu" and (x.ndim != 4 or rows is not None)
    way, to_rows = (step.among_rows(x.ndim, rows is not None) if knows else None) or (step, False)
    source = x._physical if rows is None else rows
    shape = logical(source).shape
    y, shares = way.get(device, source)
    lent = shares and x._view is not None and x._view.copied
    if shares and not lent:
        y = copy(device, y)
    result = record(
        step.op, y, device, (x,), lambda dy, needs: (way.back(device, dy, shape),), passes_on=True, rows=to_rows
    )
    if lent:
        result._storage.shared().lent = True
    return result


@dataclass
class Shaped(Step):
    """The step to another shape."""

    op: str
    shape: tuple[int, ...]

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        """See Step."""
        if logical(array).shape == self.shape:
            return array.reshape(array.shape), True  # another object, which may be locked
        y = in_shape(device, array, self.shape)
        return y, address_of(y) == address_of(array)

    def back(self, device: Device, dy: Any, shape: tuple[int, ...]) -> Any:
        """See Step."""
        return dy if logical(dy).shape == shape else in_shape(device, dy, shape)

    def put(self, device: Device, target: Any, value: Any) -> None:
        """See Step."""
        copy_arrays(device, [target], [in_shape(device, value, logical(target).shape)])

    def among_rows(self, ndim: int, from_rows: bool) -> tuple[Step, bool] | None:
        """See Step."""
        if is_image(self.shape):
            return Shaped(self.op, (1, *self.shape)), True
        return (self, False) if from_rows else None

    def strided(self, array: Any) -> Any:
        """See Step."""
        shaped = array.reshape(self.shape)
        return shaped if address_of(shaped) == address_of(array) else None

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        """See Step."""
        return self.shape, _strides_in(shape, strides, self.shape)


def _strides_in(shape: tuple[int, ...], strides: Strides, new: tuple[int, ...]) -> Strides | None:
    """The strides of a shape ``new`` over the same memory, or None where there are none."""
    if 0 in shape:
        return strides_for(new)
    # Runs of neighbouring axes that are one axis in memory. Each has to be cut into whole new axes.
    runs: list[list[int]] = []
    for n, stride in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * stride:
            runs[-1] = [runs[-1][0] * n, stride]
        else:
            runs.append([n, stride])
    made: list[int] = []
    left, step = 1, 1
    for n in reversed(new):
        if n == 1:
            made.append(step * left)
            continue
        if left == 1:
            if not runs:
                return None
            left, step = runs.pop()
            size = left
        if left % n:
            return None
        made.append(step * (size // left))
        left //= n
    return tuple(reversed(made))


def view(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The elements of x in logical order in another shape: always a view.

    Parameters
    ----------
    x : Tensor
    shape : int or sequence of int
        With x's number of elements; one length may be -1.

    Raises
    ------
    ShapeError
        If the numbers of elements differ, or x is a strided view that has no such shape without copying.
    """
    return _reshape("view", x, shape, strict=True)


def contiguous(x: Tensor) -> Tensor:
    """x, or a copy if it is a strided view, as PyTorch has it.

    Parameters
    ----------
    x : Tensor
    """
    return x if is_contiguous(x) else _apart(x, Shaped("contiguous", x.shape))


def _resolve(op: str, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    known = math.prod(n for n in shape if n != -1)
    wanted = shape
    if shape.count(-1) == 1 and known and x.numel() % known == 0:
        wanted = tuple(x.numel() // known if n == -1 else n for n in shape)
    if any(n < 0 for n in wanted) or math.prod(wanted) != x.numel():
        raise ShapeError(f"{here(op)}: cannot make shape {shape} of {x.shape} with {x.numel()} elements.")
    return wanted


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge axes ``start_dim`` to ``end_dim`` into one, in logical order.

    Parameters
    ----------
    x : Tensor
    start_dim, end_dim : int
        First and last axis to merge.

    Raises
    ------
    UsageError
        If x does not have these axes, or the first comes after the last.

    References
    ----------
    Lecture topic L16.
    """
    count = max(x.ndim, 1)
    first, last = start_dim % count, end_dim % count
    if first > last or any(not -count <= a < count for a in (start_dim, end_dim)):
        raise UsageError(f"{here('flatten')}: axes {start_dim} to {end_dim} do not exist in shape {x.shape}.")
    if first == last and x.ndim and isinstance(x, Tensor):
        return x
    return _reshape("flatten", x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def ravel(x: Tensor) -> Tensor:
    """All elements in logical order, as one axis.

    Parameters
    ----------
    x : Tensor
    """
    return _reshape("ravel", x, (-1,) if x.numel() else (0,))


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split axis ``dim`` into several, of lengths ``sizes``.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    sizes : sequence of int
        Their product is the axis's length; one may be -1.

    Raises
    ------
    ShapeError
        If the product is not that length.
    """
    sizes = tuple([whole_number("unflatten", "sizes", n) for n in sizes])
    if not x.ndim:
        raise ShapeError(f"{here('unflatten')}: expected an axis to split; a number has none.")
    (axis,) = axes_of("unflatten", x, dim)
    length, known = x.shape[axis], math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known and length % known == 0:
        sizes = tuple(length // known if n == -1 else n for n in sizes)
    if not sizes or any(n < 0 for n in sizes) or math.prod(sizes) != length:
        raise ShapeError(
            f"{here('unflatten')}: cannot split axis {dim} of {x.shape}, of length {length}, into {sizes}."
        )
    return _reshape("unflatten", x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of length 1.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Only these, if of length 1. All if None.
    """
    axes = axes_of("squeeze", x, dim, empty_means_all=False)
    return _reshape("squeeze", x, [n for a, n in enumerate(x.shape) if n != 1 or a not in axes])


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new axis of length 1.

    Parameters
    ----------
    x : Tensor
    dim : int
        Where it will be.

    Raises
    ------
    UsageError
        If ``dim`` is not an axis of the result.
    """
    count = x.ndim + 1
    if not -count <= dim < count:
        raise UsageError(f"{here('unsqueeze')}: dim: expected -{count} to {count - 1} for shape {x.shape}; got {dim}.")
    at = dim % count
    return _reshape("unsqueeze", x, (*x.shape[:at], 1, *x.shape[at:]))
