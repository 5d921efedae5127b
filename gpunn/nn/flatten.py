"""Flatten: from images to rows."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.nn.module import Module
from gpunn.ops.shape import flatten


class Flatten(Module):
    """Merge axes ``start_dim`` to ``end_dim`` into one, in logical (N, C, H, W) order.

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
