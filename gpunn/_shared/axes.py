"""Naming axes, and the shapes that reductions leave."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here


def axes_of(op: str, x: Tensor, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes that ``dim`` names, none negative; all for None or an empty sequence. A scalar's -1 and 0 name none."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return tuple(range(x.ndim))
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    count = max(x.ndim, 1)
    if any(not -count <= a < count for a in axes) or len({a % count for a in axes}) != len(axes):
        raise UsageError(f"{here(op)}: axes {dim} do not exist once each in shape {x.shape}.")
    return tuple(a % count for a in axes) if x.ndim else ()


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with length 1 along ``axes``."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))
