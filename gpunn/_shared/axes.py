"""Naming axes, and the shapes that reductions leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here

_SEVERAL = (Sequence, np.ndarray)


def axes_of(op: str, x: Tensor, dim: int | Sequence[int] | None, empty_means_all: bool = True) -> tuple[int, ...]:
    """The axes that ``dim`` names, none negative; all for None. A scalar's -1 and 0 name none.

    ``empty_means_all``: so does a sequence without any.
    """
    if dim is None:
        return tuple(range(x.ndim))
    axes: tuple[int, ...] = (dim,) if type(dim) is int else _numbers(op, dim)
    if not axes and empty_means_all:
        return tuple(range(x.ndim))
    count = max(x.ndim, 1)
    if any(not -count <= a < count for a in axes) or len({a % count for a in axes}) != len(axes):
        raise UsageError(f"{here(op)}: axes {dim} do not exist once each in shape {x.shape}.")
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


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with length 1 along ``axes``."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))
