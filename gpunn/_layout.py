"""Logical and physical layout of arrays.

Users see images as (N, C, H, W) and convolution weights as (K, C, R, S), PyTorch's order. In
memory both are channels last: (N, H, W, C) and (K, R, S, C), because kernels load a run of
channels 16 bytes at a time and the CPU copies it whole. A tensor's array is the logical
*view* of that memory; primitives get the physical array, always C-contiguous.

The array libraries do not keep this order by themselves (CuPy's ufuncs always allocate C
order; NumPy's ``copy`` and mixed operands lose it), so these two functions own it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_TO_PHYSICAL = (0, 2, 3, 1)
_TO_LOGICAL = (0, 3, 1, 2)


class Size(tuple[int, ...]):
    """A tensor's shape: a tuple of its lengths, which also knows the number of elements.

    A slice or a sum of it is a plain tuple: with methods of its own for these, every look at a length would take
    longer.

    Parameters
    ----------
    *iterable
        The lengths, as of ``tuple``.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.zeros(2, 3).shape.numel()
    6
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the lengths."""
        return math.prod(self)


# Logical shapes by physical ones. Programs have few, and a look-up takes half as long as making one.
SIZES: dict[tuple[int, ...], Size] = {}
_MOST_SIZES = 4096  # then it begins anew: lengths of texts may differ from batch to batch


def size_of(physical: tuple[int, ...]) -> Size:
    """The logical shape of an array whose physical shape is given; kept in ``SIZES``."""
    size = SIZES.get(physical)
    if size is None:
        if len(SIZES) >= _MOST_SIZES:
            SIZES.clear()
        size = SIZES[physical] = Size(logical_shape(physical))
    return size


def physical(array: Any) -> Any:
    """The C-contiguous array in memory order behind a logical one: (N, H, W, C) for 4-d, else unchanged.

    A view where the layout is already right, a copy where it is not.
    """
    if array.ndim == 4:
        array = array.transpose(_TO_PHYSICAL)
    return array if is_contiguous(array) else array.copy(order="C")


def logical(array: Any) -> Any:
    """A physical array viewed in the user's order: (N, C, H, W) for 4-d, else unchanged."""
    return array.transpose(_TO_LOGICAL) if array.ndim == 4 else array


def physical_axes(axes: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The physical axes that correspond to logical ``axes`` of an ``ndim``-d array."""
    return tuple(_TO_PHYSICAL.index(a) for a in axes) if ndim == 4 else axes


def physical_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The physical shape behind a logical one."""
    return tuple(shape[a] for a in _TO_PHYSICAL) if len(shape) == 4 else shape


def logical_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The logical shape of an array whose physical shape is given."""
    return tuple(shape[a] for a in _TO_LOGICAL) if len(shape) == 4 else shape


def is_contiguous(array: Any) -> bool:
    """Whether an array is C-contiguous."""
    # CuPy makes a new object for each .flags; this is the flag itself.
    return bool(array.flags.c_contiguous if isinstance(array, np.ndarray) else array._c_contiguous)


def address_of(array: Any) -> int:
    """The address of an array's first element."""
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)
