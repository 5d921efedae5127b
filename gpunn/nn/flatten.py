"""Flatten and Unflatten: from images to rows and back."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn._tensor import Tensor
from gpunn.nn.module import Module
from gpunn.ops.reshape import flatten, unflatten


class Flatten(Module):
    """Merge axes ``start_dim`` to ``end_dim`` into one, in logical (N, C, H, W) order.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last axis to merge.

    Shape
    -----
    x : (N, C, H, W);  y : (N, C H W) with the defaults

    Raises
    ------
    UsageError
        If x does not have these axes.

    References
    ----------
    Lecture topic L16.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split axis ``dim`` into several, in logical (N, C, H, W) order; the opposite of :class:`Flatten`.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        The new lengths; one may be -1.

    Shape
    -----
    x : (N, C H W);  y : (N, C, H, W) for ``Unflatten(1, (C, H, W))``

    Raises
    ------
    ShapeError
        If the lengths do not multiply to that of the axis.

    References
    ----------
    Lecture topic L16.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        return unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
