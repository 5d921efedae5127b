"""Naming axes, and the shapes that reductions leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here

_SEVERAL = (Sequence, np.ndarray)


def axes_of(
    op: str, x: Tensor, dim: int | Sequence[int] | None, empty_means_all: bool = True, keepdim: bool = False
) -> tuple[int, ...]:
    """The axes that ``dim`` names, none negative; all for None. A scalar's -1 and 0 name none.

    ``empty_means_all``: so does a sequence without any. ``keepdim`` is only checked: a number there is a lost axis.
    """
    if keepdim is not False and keepdim is not True and not isinstance(keepdim, np.bool_):
        raise UsageError(
            f"{here(op)}: keepdim: expected True or False; got {keepdim!r}. Several axes are one argument: dim=(0, 1)."
        )
    if dim is None:
        return tuple(range(x.ndim))
    axes: tuple[int, ...] = (dim,) if type(dim) is int else _numbers(op, dim)
    if not axes and empty_means_all:
        return tuple(range(x.ndim))
    count = max(x.ndim, 1)
    if any(not -count <= a < count for a in axes) or len({a % count for a in axes}) != len(axes):
        raise UsageError(
            f"{here(op)}: dim: expected axes of shape {x.shape}, from {-count} to {count - 1}, each once; got {dim}."
        )
    return tuple(a % count for a in axes) if x.ndim else ()


def _numbers(op: str, dim: Any) -> tuple[int, ...]:
    """An axis, or several, of whatever kind of whole number."""
    one = as_int(dim)
    if one is not None:
        return (one,)
    several = tuple(as_int(a) for a in dim) if isinstance(dim, _SEVERAL) else (None,)
    if None in several:
        raise UsageError(f"{here(op)}: dim: expected an axis, a whole number, or several; got {dim!r}.")
    return several


def axis_of(op: str, x: Tensor, dim: int) -> int:
    """The one axis that ``dim`` names, not negative; 0 for a scalar's."""
    if as_int(dim) is None:
        raise UsageError(f"{here(op)}: dim: expected one axis, a whole number; got {dim!r}.")
    return (axes_of(op, x, dim) or (0,))[0]


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with length 1 along ``axes``."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))
