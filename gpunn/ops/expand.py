"""Repeating along axes: expand, broadcast_to, repeat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import Size, logical, physical_shape
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn._views import Step, Strides, view_of
from gpunn.errors import ArgumentError, ShapeError, here
from gpunn.ops.binary import reduce_to, repeat_to
from gpunn.ops.permute import in_shape
from gpunn.ops.reshape import _reshape
from gpunn.tape import record


def expand(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """x repeated along axes of length 1, and along new axes in front: a view; the gradient is summed.

    Where elements are repeated it cannot be written to.

    Parameters
    ----------
    x : Tensor
    sizes : sequence of int
        The new shape; -1 keeps a length.

    Raises
    ------
    ShapeError
        If x does not broadcast to it.

    Examples
    --------
    >>> import gpunn
    >>> expand(gpunn.tensor([[1.0], [2.0]]), (-1, 3)).tolist()
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    return _expand("expand", x, sizes)


def _expand(op: str, x: Tensor, sizes: Sequence[int]) -> Tensor:
    wanted, new = tuple([whole_number("expand", "sizes", n) for n in sizes]), len(sizes) - x.ndim
    old = (*(None for _ in range(new)), *x.shape)
    shape = tuple(n if m is None or n != -1 else m for n, m in zip(wanted, old, strict=False))
    if new < 0 or any(n < 0 or m not in (None, 1, n) for n, m in zip(shape, old, strict=True)):
        raise ShapeError(f"{here(op)}: expected a shape that {x.shape} broadcasts to; got {wanted}.")
    if math.prod(shape) == x.numel():  # no element is repeated
        return _reshape(op, x, shape, strict=True)
    return view_of(x, Expanded(op, shape))


@dataclass
class Expanded(Step):
    """The step to a shape in which elements are repeated."""

    op: str
    shape: tuple[int, ...]

    repeats: bool = True

    def get(self, device: Device, array: Any) -> tuple[Any, bool]:
        """See Step."""
        shape = (*(1,) * (len(self.shape) - array.ndim), *logical(array).shape)
        return repeat_to(device, in_shape(device, array, shape), physical_shape(self.shape)), False

    def back(self, device: Device, dy: Any, shape: tuple[int, ...]) -> Any:
        """See Step."""
        return reduce_to(device, dy, shape)

    def put(self, device: Device, target: Any, value: Any) -> None:
        """See Step."""
        raise AssertionError(f"{self.op}: elements that share memory are not written to")

    def strided(self, array: Any) -> Any:
        """See Step."""
        return np.broadcast_to(array, self.shape) if isinstance(array, np.ndarray) else None

    def strides(self, shape: tuple[int, ...], strides: Strides) -> tuple[tuple[int, ...], Strides | None]:
        """See Step."""
        new = len(self.shape) - len(shape)
        kept = (s if n == m else 0 for n, m, s in zip(shape, self.shape[new:], strides, strict=True))
        return self.shape, (*(0,) * new, *kept)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Like :meth:`gpunn.Tensor.expand`.

    Parameters
    ----------
    x : Tensor
    shape : sequence of int
        The new shape; -1 keeps a length.
    """
    return _expand("broadcast_to", x, shape)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape in which tensors of these shapes meet.

    Parameters
    ----------
    *shapes : sequence of int, or int

    Returns
    -------
    Size

    Raises
    ------
    ShapeError
        If they do not meet.

    Examples
    --------
    >>> broadcast_shapes((3, 1), (2,))
    (3, 2)
    """
    op, found = "broadcast_shapes", []
    for shape in shapes:
        lengths = shape if isinstance(shape, list | tuple) else (shape,)
        found.append(tuple(whole_number(op, "shapes", n, 0) for n in lengths))
    return _meeting(op, found)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Tensors repeated to the shape in which they meet.

    Parameters
    ----------
    *tensors : Tensor
        Or one sequence of them.

    Raises
    ------
    ShapeError
        If there is no such shape.
    """
    given = tensors_of("broadcast_tensors", tensors)
    shape = _meeting("broadcast_tensors", [t.shape for t in given])
    return tuple(t if t.shape == shape else broadcast_to(t, shape) for t in given)


def tensors_of(op: str, given: Any) -> tuple[Tensor, ...]:
    """The tensors of ``*tensors``, or of the one sequence that is there instead.

    Raises
    ------
    ArgumentError
        If there is none, or something else among them.
    """
    tensors = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given
    for each in tensors:
        if not isinstance(each, Tensor):
            raise ArgumentError(f"{here(op)}: tensors: expected Tensors; got {type(each).__name__}.")
    if not tensors:
        raise ArgumentError(f"{here(op)}: tensors: expected at least one Tensor; got none.")
    return tuple(tensors)


def _meeting(op: str, shapes: list[tuple[int, ...]]) -> Size:
    try:
        return Size(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ShapeError(f"{here(op)}: the shapes {', '.join(map(str, shapes))} do not broadcast together.") from None


def repeat(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """x tiled ``repeats[a]`` times along axis a.

    Parameters
    ----------
    x : Tensor
    repeats : sequence of int
        One for each axis; extra ones make new axes in front.

    Raises
    ------
    ShapeError
        If there are fewer than axes, or one is negative.

    Examples
    --------
    >>> import gpunn
    >>> repeat(gpunn.tensor([1, 2]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    times, new = tuple([whole_number("repeat", "repeats", n) for n in repeats]), len(repeats) - x.ndim
    if new < 0 or any(n < 0 for n in times):
        raise ShapeError(f"{here('repeat')}: expected a count for each axis of {x.shape}; got {times}.")
    shape = (*(1,) * new, *x.shape)
    apart = [n for length in shape for n in (1, length)]
    wide = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    together = tuple(count * length for count, length in zip(times, shape, strict=True))
    device, old = x.device, x.shape
    y = repeat_to(device, in_shape(device, x._physical, tuple(apart)), physical_shape(wide))

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (in_shape(device, reduce_to(device, in_shape(device, dy, wide), tuple(apart)), old),)

    return record("repeat", in_shape(device, y, together), device, (x,), backward, passes_on=True)
